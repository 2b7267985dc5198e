// What may be allowed, and the roles that bundle it: Proxmox Backup Server's names, so that its users' scripts work. Roles are fixed.

export const PRIVILEGES = [
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
export type Privilege = (typeof PRIVILEGES)[number];

/** Role -> what it allows. `NoAccess` takes away what would come from above. */
export const ROLES = {
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
export type RoleName = keyof typeof ROLES;

export function isRoleName(text: string): text is RoleName {
  return Object.hasOwn(ROLES, text);
}

/** What a role allows. */
export function privilegesOf(role: RoleName): readonly Privilege[] {
  return ROLES[role];
}
