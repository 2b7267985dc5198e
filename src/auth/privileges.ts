// What may be allowed, and the roles that bundle it: the names of Proxmox Backup Server and of Proxmox VE, so that scripts of both work. A
// privilege that both have is one: it means the same at either listener. Roles are fixed.

export const BACKUP_PRIVILEGES = [
  'Sys.Audit',
  'Sys.Modify',
  'Sys.PowerManagement',
  'Sys.Console',
  'Datastore.Audit',
  'Datastore.Allocate',
  'Datastore.Modify',
  'Datastore.Read',
  'Datastore.Verify',
  'Datastore.Backup',
  'Datastore.Prune',
  'Permissions.Modify',
  'Remote.Audit',
  'Remote.Modify',
  'Remote.Read',
  'Remote.DatastoreBackup',
  'Remote.DatastoreModify',
  'Remote.DatastorePrune',
  'Tape.Audit',
  'Tape.Modify',
  'Tape.Write',
  'Tape.Read',
  'Realm.Allocate',
] as const;

const STORAGE = [
  'Datastore.Allocate',
  'Datastore.AllocateSpace',
  'Datastore.AllocateTemplate',
  'Datastore.Audit',
] as const;
const AGENT_FILES = [
  'VM.GuestAgent.Audit',
  'VM.GuestAgent.FileRead',
  'VM.GuestAgent.FileSystemMgmt',
  'VM.GuestAgent.FileWrite',
] as const;
const VM = [
  'VM.Allocate',
  'VM.Audit',
  'VM.Backup',
  'VM.Clone',
  'VM.Config.CDROM',
  'VM.Config.CPU',
  'VM.Config.Cloudinit',
  'VM.Config.Disk',
  'VM.Config.HWType',
  'VM.Config.Memory',
  'VM.Config.Network',
  'VM.Config.Options',
  'VM.Console',
  ...AGENT_FILES,
  'VM.GuestAgent.Unrestricted',
  'VM.Migrate',
  'VM.PowerMgmt',
  'VM.Replicate',
  'VM.Snapshot',
  'VM.Snapshot.Rollback',
] as const;
const SDN = ['SDN.Allocate', 'SDN.Audit', 'SDN.Use'] as const;
/** What an administrator of guests may not: the host, its realms, and rights of others. */
const OF_GUEST_ADMINS = [
  ...STORAGE,
  'Group.Allocate',
  'Mapping.Audit',
  'Mapping.Use',
  'Pool.Allocate',
  'Pool.Audit',
  'Realm.AllocateUser',
  ...SDN,
  'Sys.Audit',
  'Sys.Console',
  'Sys.Syslog',
  'User.Modify',
  ...VM,
] as const;

export const GUEST_PRIVILEGES = [
  ...OF_GUEST_ADMINS,
  'Mapping.Modify',
  'Permissions.Modify',
  'Realm.Allocate',
  'Sys.AccessNetwork',
  'Sys.Incoming',
  'Sys.Modify',
  'Sys.PowerMgmt',
] as const;

export type Privilege = (typeof BACKUP_PRIVILEGES)[number] | (typeof GUEST_PRIVILEGES)[number];
export const PRIVILEGES: readonly Privilege[] = [...new Set([...BACKUP_PRIVILEGES, ...GUEST_PRIVILEGES])];

/** Role -> what it allows. `NoAccess` takes away what would come from above. */
export const BACKUP_ROLES = {
  Admin: PRIVILEGES,
  NoAccess: [],
  Audit: ['Sys.Audit', 'Datastore.Audit'],
  DatastoreAdmin: [
    'Datastore.Audit',
    'Datastore.Modify',
    'Datastore.Read',
    'Datastore.Verify',
    'Datastore.Backup',
    'Datastore.Prune',
  ],
  DatastoreReader: ['Datastore.Audit', 'Datastore.Verify', 'Datastore.Read'],
  DatastoreBackup: ['Datastore.Backup'],
  DatastorePowerUser: ['Datastore.Prune', 'Datastore.Backup'],
  DatastoreAudit: ['Datastore.Audit'],
  RemoteAudit: ['Remote.Audit'],
  RemoteAdmin: ['Remote.Audit', 'Remote.Modify', 'Remote.Read'],
  RemoteSyncOperator: ['Remote.Audit', 'Remote.Read'],
  RemoteSyncPushOperator: ['Remote.Audit', 'Remote.DatastoreBackup'],
  RemoteDatastorePowerUser: ['Remote.Audit', 'Remote.DatastoreBackup', 'Remote.DatastorePrune'],
  RemoteDatastoreAdmin: ['Remote.Audit', 'Remote.DatastoreBackup', 'Remote.DatastoreModify', 'Remote.DatastorePrune'],
  TapeAudit: ['Tape.Audit'],
  TapeReader: ['Tape.Audit', 'Tape.Read'],
  TapeOperator: ['Tape.Audit', 'Tape.Read', 'Tape.Write'],
  TapeAdmin: ['Tape.Audit', 'Tape.Read', 'Tape.Write', 'Tape.Modify'],
} as const satisfies Readonly<Record<string, readonly Privilege[]>>;

export const GUEST_ROLES = {
  Administrator: GUEST_PRIVILEGES,
  NoAccess: [],
  PVEAdmin: OF_GUEST_ADMINS,
  PVEAuditor: [
    'Datastore.Audit',
    'Mapping.Audit',
    'Pool.Audit',
    'SDN.Audit',
    'Sys.Audit',
    'VM.Audit',
    'VM.GuestAgent.Audit',
  ],
  PVEDatastoreAdmin: STORAGE,
  PVEDatastoreUser: ['Datastore.AllocateSpace', 'Datastore.Audit'],
  PVEVMAdmin: VM,
  PVEVMUser: [
    'VM.Audit',
    'VM.Backup',
    'VM.Config.CDROM',
    'VM.Config.Cloudinit',
    'VM.Console',
    ...AGENT_FILES,
    'VM.PowerMgmt',
  ],
  PVETemplateUser: ['VM.Audit', 'VM.Clone'],
  PVESysAdmin: ['Sys.Audit', 'Sys.Console', 'Sys.Syslog'],
  PVEUserAdmin: ['Group.Allocate', 'Realm.AllocateUser', 'User.Modify'],
  PVEPoolAdmin: ['Pool.Allocate', 'Pool.Audit'],
  PVEPoolUser: ['Pool.Audit'],
  PVESDNAdmin: SDN,
  PVESDNUser: ['SDN.Audit', 'SDN.Use'],
  PVEMappingAdmin: ['Mapping.Audit', 'Mapping.Modify', 'Mapping.Use'],
  PVEMappingUser: ['Mapping.Audit', 'Mapping.Use'],
} as const satisfies Readonly<Record<string, readonly Privilege[]>>;

export const ROLES = { ...BACKUP_ROLES, ...GUEST_ROLES };
export type RoleName = keyof typeof ROLES;

export function isRoleName(text: string): text is RoleName {
  return Object.hasOwn(ROLES, text);
}

/** What a role allows. */
export function privilegesOf(role: RoleName): readonly Privilege[] {
  return ROLES[role];
}
