// What a server can ask of an agent, as it stands in messages: the words of `holdfast backup` and `holdfast restore`, and no others.
import { type Static, Type } from 'typebox';
import { ZSTD_LEVELS } from '../../schema/compression.ts';
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
    pattern: '^/[^\\u0000-\\u001f\\u007f]*$',
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

export const BackupOrder = Type.Object(
  { kind: Type.Literal('backup'), ...BACKUP_FIELDS },
  { additionalProperties: false },
);
export const RestoreOrder = Type.Object(
  { kind: Type.Literal('restore'), ...RESTORE_FIELDS },
  { additionalProperties: false },
);
export const Order = Type.Union([BackupOrder, RestoreOrder]);

export type BackupOrder = Static<typeof BackupOrder>;
export type RestoreOrder = Static<typeof RestoreOrder>;
export type Order = Static<typeof Order>;
