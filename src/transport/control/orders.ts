// What a server can ask of an agent, as it stands in messages: the words of `holdfast backup` and `holdfast restore`, of `holdfast vm backup` and
// `holdfast vm restore`, and no others.
import { type Static, Type } from 'typebox';
import { ZSTD_LEVELS } from '../../schema/compression.ts';
import { MAX_VMID, MIN_VMID } from '../../schema/guest-names.ts';
import { GROUP_TYPES } from '../../schema/names.ts';

const MAX_PATH = 4096;
const LINE = '^[^\\u0000-\\u001f\\u007f]*$';
const SAFE = '^[A-Za-z0-9_][A-Za-z0-9._-]*$';
const Texts = (maxItems: number, maxLength: number) =>
  Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength, pattern: LINE }), { maxItems }));
const RateMib = Type.Optional(
  Type.Integer({ minimum: 1, maximum: 1_000_000, description: 'MiB a second over the line at most.' }),
);
const Workers = Type.Optional(
  Type.Integer({ minimum: 1, maximum: 64, description: 'Threads; one per processor without it.' }),
);
const IdRanges = Texts(64, 64);

const StoreName = Type.String({ pattern: SAFE, minLength: 3, maxLength: 32, description: 'Name of a datastore.' });
const NamespaceText = Type.String({
  pattern: '^([A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*){0,6})?$',
  maxLength: 256,
  description: 'Namespace; empty or missing is the root.',
});
const Group = `(${GROUP_TYPES.join('|')})/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`;
const TIME = '[0-9TZ:+.-]{1,40}';

/** Members of a backup, but its kind. */
export const BACKUP_FIELDS = {
  store: StoreName,
  ns: Type.Optional(NamespaceText),
  group: Type.String({ pattern: `^${Group}$`, maxLength: 160, description: 'TYPE/ID.' }),
  archives: Type.Array(Type.String({ minLength: 3, maxLength: MAX_PATH + 130, pattern: LINE }), {
    minItems: 1,
    maxItems: 256,
    description: 'ARCHIVE:PATH each, as holdfast backup takes them; paths are those of the node.',
  }),
  time: Type.Optional(Type.String({ pattern: `^${TIME}$`, maxLength: 40, description: 'Label of the snapshot.' })),
  'changed-since': Type.Optional(
    Type.String({ minLength: 1, maxLength: MAX_PATH, pattern: LINE, description: 'A change map, a file of the node.' }),
  ),
  'compression-level': Type.Optional(Type.Integer({ minimum: ZSTD_LEVELS.lowest, maximum: ZSTD_LEVELS.highest })),
  exclude: Texts(256, 1024),
  'exclude-preset': Texts(16, 64),
  'include-dev': Texts(64, MAX_PATH),
  'all-file-systems': Type.Optional(Type.Boolean()),
  'change-detection': Type.Optional(Type.Enum(['metadata', 'data'])),
  'map-uid': IdRanges,
  'map-gid': IdRanges,
  'limit-upload': RateMib,
  workers: Workers,
};

/** Members of a restore, but its kind. */
export const RESTORE_FIELDS = {
  store: StoreName,
  ns: Type.Optional(NamespaceText),
  snapshot: Type.String({
    pattern: `^${Group}/(latest|${TIME})$`,
    maxLength: 200,
    description: 'TYPE/ID/TIME, or TYPE/ID/latest.',
  }),
  archive: Type.String({ pattern: SAFE, maxLength: 128, description: 'Name of an archive of the snapshot.' }),
  target: Type.String({
    pattern: '^/[^\u0000-\u001f\u007f]*$',
    maxLength: MAX_PATH,
    description: 'Absolute path at the node: where its agent lets restores write.',
  }),
  tar: Type.Optional(Type.Boolean({ description: 'The target is a tar archive to be made of a file tree.' })),
  zstd: Type.Optional(Type.Boolean({ description: 'Compress that tar archive.' })),
  overwrite: Type.Optional(Type.Boolean()),
  existing: Type.Optional(Type.Enum(['refuse', 'keep', 'changed', 'replace'])),
  damaged: Type.Optional(Type.Enum(['refuse', 'zero'])),
  path: Texts(256, MAX_PATH),
  include: Texts(256, 1024),
  devices: Type.Optional(Type.Boolean()),
  'map-uid': IdRanges,
  'map-gid': IdRanges,
  'limit-download': RateMib,
  workers: Workers,
};

const Vmid = Type.Integer({ minimum: MIN_VMID, maximum: MAX_VMID, description: 'Number of a guest of the node.' });
const GuestStorage = Type.String({
  pattern: '^[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]$',
  maxLength: 100,
  description: 'A storage of the node.',
});
const RateKib = (description: string) => Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 30, description }));

/** Members of the backup of a virtual machine, but its kind. */
export const VM_BACKUP_FIELDS = {
  store: StoreName,
  ns: Type.Optional(NamespaceText),
  vmid: Vmid,
  mode: Type.Optional(Type.Enum(['snapshot', 'suspend', 'stop'])),
  'fleecing-storage': Type.Optional(GuestStorage),
  'fleecing-limit': Type.Optional(
    Type.String({ pattern: '^[0-9.]{1,20} ?[A-Za-z]{0,3}$', maxLength: 24, description: 'A size, such as 4GiB.' }),
  ),
  bwlimit: RateKib('KiB a second to read from the disks at most; 0: no limit.'),
  lockwait: Type.Optional(Type.Integer({ minimum: 0, maximum: 100_000, description: 'Minutes.' })),
  script: Type.Optional(
    Type.String({
      pattern: '^/[^\u0000-\u001f\u007f]*$',
      maxLength: MAX_PATH,
      description: 'A hook script of the node, which its agent must allow.',
    }),
  ),
  protected: Type.Optional(Type.Boolean()),
  'notes-template': Type.Optional(Type.String({ maxLength: 1024 })),
  ionice: Type.Optional(Type.Integer({ minimum: 0, maximum: 8 })),
  time: Type.Optional(Type.String({ pattern: `^${TIME}$`, maxLength: 40, description: 'Label of the snapshot.' })),
  'compression-level': Type.Optional(Type.Integer({ minimum: ZSTD_LEVELS.lowest, maximum: ZSTD_LEVELS.highest })),
  'limit-upload': RateMib,
  workers: Workers,
};

/** Members of the restore of a virtual machine, but its kind. */
export const VM_RESTORE_FIELDS = {
  store: StoreName,
  ns: Type.Optional(NamespaceText),
  snapshot: Type.String({
    pattern: `^vm/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}/(latest|${TIME})$`,
    maxLength: 200,
    description: 'vm/VMID/TIME, or vm/VMID/latest.',
  }),
  newid: Vmid,
  storage: Type.Optional(GuestStorage),
  format: Type.Optional(Type.Enum(['raw', 'qcow2'])),
  force: Type.Optional(Type.Boolean({ description: 'In place of the stopped guest that is there.' })),
  unique: Type.Optional(Type.Boolean({ description: 'New MAC addresses and a new UUID.' })),
  start: Type.Optional(Type.Boolean()),
  'live-restore': Type.Optional(Type.Boolean({ description: 'It runs at once, and its disks are copied meanwhile.' })),
  bwlimit: RateKib('KiB a second that a live restore copies at most.'),
  'limit-download': RateMib,
  workers: Workers,
};

export const BackupOrder = Type.Object(
  { kind: Type.Literal('backup'), ...BACKUP_FIELDS },
  { additionalProperties: false },
);
export const RestoreOrder = Type.Object(
  { kind: Type.Literal('restore'), ...RESTORE_FIELDS },
  { additionalProperties: false },
);
export const VmBackupOrder = Type.Object(
  { kind: Type.Literal('vm-backup'), ...VM_BACKUP_FIELDS },
  { additionalProperties: false },
);
export const VmRestoreOrder = Type.Object(
  { kind: Type.Literal('vm-restore'), ...VM_RESTORE_FIELDS },
  { additionalProperties: false },
);
export const Order = Type.Union([BackupOrder, RestoreOrder, VmBackupOrder, VmRestoreOrder]);

export type BackupOrder = Static<typeof BackupOrder>;
export type RestoreOrder = Static<typeof RestoreOrder>;
export type VmBackupOrder = Static<typeof VmBackupOrder>;
export type VmRestoreOrder = Static<typeof VmRestoreOrder>;
export type Order = Static<typeof Order>;
