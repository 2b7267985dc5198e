// The small JSON files of a datastore. docs/format.md, section 9.
import { type Static, Type } from 'typebox';

const Hex16 = Type.String({ pattern: '^[0-9a-f]{32}$' });
const Names = Type.Array(Type.String());

export const DatastoreConfig = Type.Object({
  format: Type.Integer(),
  store: Hex16,
  created: Type.String(),
  features: Type.Object({ compatible: Names, readOnlyCompatible: Names, incompatible: Names }),
  chunk: Type.Object({ averageBytes: Type.Integer() }),
  retentionLock: Type.Optional(Type.Object({ maxMs: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }) })),
});
export type DatastoreConfig = Static<typeof DatastoreConfig>;

export const HolderRecord = Type.Object({
  epoch: Type.Integer({ minimum: 0 }),
  pid: Type.Integer(),
  host: Type.String(),
  started: Type.String(),
});
export type HolderRecord = Static<typeof HolderRecord>;

const Bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

/** What a snapshot added to the store: before compression, and on disk. */
export const AddedBytes = Type.Object({
  bytesNew: Bytes,
  bytesStored: Bytes,
  /** It had no base: everything of it was new. */
  isFull: Type.Optional(Type.Boolean()),
});
export type AddedBytes = Static<typeof AddedBytes>;

/** A snapshot that is unusual. Until somebody has looked at it, the group is not pruned. */
export const Anomaly = Type.Object({
  /** Label of the snapshot, Unix seconds. */
  time: Type.Integer({ minimum: 0 }),
  added: AddedBytes,
  usual: Type.Object({
    bytesNew: Bytes,
    /** Share that compression leaves of it. */
    ratio: Type.Number({ minimum: 0 }),
  }),
  score: Type.Number({ minimum: 0 }),
  /** Absent when it added far more than usual. `repair`: nobody knows whether the group was held, so it is. */
  cause: Type.Optional(Type.Union([Type.Literal('key'), Type.Literal('repair')])),
  /** Of the snapshot, which none before it had; with the cause `key`. */
  space: Type.Optional(Type.Integer({ minimum: 0 })),
  /** Labels of the snapshots before it that it has protected. */
  protected: Type.Array(Type.Integer({ minimum: 0 })),
});
export type Anomaly = Static<typeof Anomaly>;

/** What the last snapshots of one space added, the newest last: what is usual. */
export const AddedOfSpace = Type.Object({
  space: Type.Integer({ minimum: 0 }),
  snapshots: Type.Array(AddedBytes),
});
export type AddedOfSpace = Static<typeof AddedOfSpace>;

export const GroupState = Type.Object({
  format: Type.Literal(1),
  /** Empty when the group was removed: the next backup makes it its own. */
  owner: Type.String({ maxLength: 128 }),
  lastSequence: Type.Integer({ minimum: 0 }),
  lastTime: Type.Integer({ minimum: 0 }),
  notes: Type.Optional(Type.String({ maxLength: 65536 })),
  /** Of the space that was used last, */
  added: Type.Optional(AddedOfSpace),
  /** and of those before it, the one used last first. */
  addedBefore: Type.Optional(Type.Array(AddedOfSpace)),
  anomaly: Type.Optional(Anomaly),
});
export type GroupState = Static<typeof GroupState>;

export const SessionRecord = Type.Object({
  format: Type.Literal(1),
  session: Hex16,
  kind: Type.Literal('backup'),
  ns: Type.String(),
  group: Type.String(),
  owner: Type.String(),
  space: Type.Integer({ minimum: 0 }),
  opened: Type.String(),
  openedClockMs: Type.Integer({ minimum: 0 }),
});
export type SessionRecord = Static<typeof SessionRecord>;

export const Quarantine = Type.Object({
  copies: Type.Array(
    Type.Object({
      id: Type.String({ pattern: '^[0-9a-f]{64}$' }),
      space: Type.Integer(),
      pack: Hex16,
      offset: Type.Integer(),
    }),
  ),
  /** A verification found that snapshots miss objects. */
  missing: Type.Optional(Type.Boolean()),
});
export type Quarantine = Static<typeof Quarantine>;

export const StoreClockState = Type.Object({ elapsedMs: Type.Integer({ minimum: 0 }) });
export type StoreClockState = Static<typeof StoreClockState>;

export const VerifyState = Type.Object({
  store: Hex16,
  /** Pack id -> Unix milliseconds before which the pack was not yet proved whole. */
  packs: Type.Record(Type.String({ pattern: '^[0-9a-f]{32}$' }), Type.Integer({ minimum: 0 })),
  /** Session id of a snapshot -> what the last verification of it said. */
  snapshots: Type.Record(
    Type.String({ pattern: '^[0-9a-f]{32}$' }),
    Type.Object({ verifiedMs: Type.Integer({ minimum: 0 }), damaged: Type.Boolean() }),
  ),
});
export type VerifyState = Static<typeof VerifyState>;
