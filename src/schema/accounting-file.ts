// accounting.json: what each snapshot took on disk when it was last counted; a cache. docs/format.md, section 9.
import { type Static, Type } from 'typebox';

const Bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

export const AccountedSnapshot = Type.Object({
  ns: Type.String(),
  group: Type.String(),
  time: Type.Integer({ minimum: 0 }),
  owner: Type.String(),
  bytesLogical: Bytes,
  /** What its session stored; null for snapshots of versions that did not note it. */
  bytesStored: Type.Union([Bytes, Type.Null()]),
  /** Plain bytes of the objects that its session stored. */
  bytesNew: Bytes,
  /** Records that only it reaches. */
  bytesUnique: Bytes,
  /** Records of which it is the oldest snapshot that reaches them. */
  bytesAttributed: Bytes,
  suspectClock: Type.Boolean(),
});
export type AccountedSnapshot = Static<typeof AccountedSnapshot>;

export const Accounting = Type.Object({
  format: Type.Literal(1),
  time: Type.String(),
  durationMs: Bytes,
  metadataRead: Bytes,
  objectsUnreadable: Bytes,
  bytesLive: Bytes,
  bytesRecords: Bytes,
  snapshots: Type.Array(AccountedSnapshot),
  /** What several snapshots of a group, and no others, reach; and the same for groups of a namespace. */
  shared: Type.Array(Type.Object({ ns: Type.String(), group: Type.Union([Type.String(), Type.Null()]), bytes: Bytes })),
});
export type Accounting = Static<typeof Accounting>;
