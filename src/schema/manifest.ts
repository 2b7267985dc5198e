// manifest.json: what a snapshot is. A part that the client writes once, and a part that the server keeps. docs/format.md, section 9.
import { type Static, Type } from 'typebox';

const Hex32 = Type.String({ pattern: '^[0-9a-f]{64}$' });
const Hex16 = Type.String({ pattern: '^[0-9a-f]{32}$' });
const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

export const CutRecord = Type.Object({
  algorithm: Type.String({ maxLength: 32 }),
  minBytes: Count,
  averageBytes: Count,
  maxBytes: Count,
  /** Absent in encrypted snapshots, where it is a secret of the key. */
  cutSeed: Type.Optional(Hex16),
});
export type CutRecord = Static<typeof CutRecord>;

export const ArchiveWarnings = Type.Object({
  count: Count,
  /** The first of them, as they were shown. */
  first: Type.Array(Type.String({ maxLength: 8192 }), { maxItems: 100 }),
});
export type ArchiveWarnings = Static<typeof ArchiveWarnings>;

export const Archive = Type.Object({
  name: Type.String({ maxLength: 128 }),
  kind: Type.Union([Type.Literal('image'), Type.Literal('stream'), Type.Literal('blob'), Type.Literal('tree')]),
  sizeBytes: Count,
  root: Hex32,
  chunker: Type.Optional(CutRecord),
  /** Of a tree: its entries, the top included. */
  entries: Type.Optional(Count),
  /** Of a tree: what could not be read as it was. */
  warnings: Type.Optional(ArchiveWarnings),
});
export type Archive = Static<typeof Archive>;

export const Statistics = Type.Object({
  bytesLogical: Count,
  bytesRead: Count,
  bytesSampled: Count,
  bytesNew: Count,
  objectsNew: Count,
  objectsReused: Count,
  durationMs: Count,
});
export type Statistics = Static<typeof Statistics>;

export const ClientPart = Type.Object({
  backup: Type.String({ maxLength: 160 }),
  clientTime: Type.String({ maxLength: 32 }),
  archives: Type.Array(Archive, { maxItems: 1024 }),
  base: Type.Union([Type.Object({ snapshot: Type.String(), sequence: Count }), Type.Null()]),
  key: Type.Union([Hex32, Type.Null()]),
  statistics: Statistics,
});
export type ClientPart = Static<typeof ClientPart>;

export const ServerPart = Type.Object({
  sequence: Count,
  time: Count,
  suspectClock: Type.Boolean(),
  session: Hex16,
  space: Count,
  owner: Type.String({ maxLength: 128 }),
  origin: Type.Object({ store: Hex16, sequence: Count }),
  protected: Type.Boolean(),
  notes: Type.String({ maxLength: 65536 }),
  damaged: Type.Boolean(),
  /** Until then, by the store clock, nothing removes the snapshot. */
  lockedUntilClockMs: Type.Optional(Count),
  /** Bytes of the packs that its session wrote; manifests of earlier versions do not have it. */
  bytesStored: Type.Optional(Count),
});
export type ServerPart = Static<typeof ServerPart>;

export const Manifest = Type.Object({
  format: Type.Literal(1),
  client: ClientPart,
  server: ServerPart,
  digest: Hex32,
});
export type Manifest = Static<typeof Manifest>;
