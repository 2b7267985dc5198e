// What bounds the bulk calls, in one place; the client is told the first five when it opens a session.
import { ENCRYPTION_OVERHEAD_BYTES } from '../../chunker/encrypting-codec.ts';
import { ID_BYTES, MAX_OBJECT_BYTES } from '../../chunker/object.ts';
import { CHECKSUM_BYTES, RECORD_HEADER_BYTES } from '../../chunker/record.ts';

const MIB = 1024 * 1024;

export const LIMITS = {
  /** Ids of one `have`: a body of 2 MiB. */
  haveIds: 65_536,
  /** Ids of one `get`: more only makes the body longer that waits for the answer. */
  getIds: 16_384,
  /** Bytes of one `put`, lengths included; no record is longer than a quarter of it. */
  putBytes: 68 * MIB,
  recordBytes: RECORD_HEADER_BYTES + MAX_OBJECT_BYTES + ENCRYPTION_OVERHEAD_BYTES + CHECKSUM_BYTES,
  /** A session without a call for so long ends. */
  idleSeconds: 900,
} as const;

export const HAVE_BODY_BYTES = LIMITS.haveIds * ID_BYTES;
export const GET_BODY_BYTES = LIMITS.getIds * ID_BYTES;

/** Calls of one session that a thread works on at once. */
export const MAX_CALLS = 32;
/** Connections of one listener, whoever they belong to. */
export const MAX_CONNECTIONS = 2048;

/** A connection that moves no byte for so long is closed. */
export const IDLE_CONNECTION_MS = 60_000;
/** For the handshake, and then for the header of a request that has begun. */
export const HANDSHAKE_MS = 10_000;
export const HEADER_MS = 10_000;
/** For a request with its body: 64 MiB at 112 KB a second. */
export const REQUEST_MS = 600_000;
export const HEADER_BYTES = 8192;

/** What is read and thrown away of a body whose answer is an error, so that the client comes to read the answer. */
export const DISCARD_BYTES = 64 * MIB;
export const DISCARD_MS = 5000;

/** One turn of a connection: others get theirs in between. */
export const TURN_BYTES = MIB;
export const TURN_MS = 4;
/** Ids that are looked up in a row: some 2 ms. */
export const IDS_IN_A_ROW = 4096;
/** Bytes of records that are read, and wait for the client to take them, at once. */
export const READ_BYTES = MIB / 2;

/** Longer records wait for one of a few places, each for one session: only this much is kept for each connection. */
export const KEPT_BYTES = MIB;
export const LARGE_RECORDS = 4;
/** A large record has this long, and its length at 64 KiB a second. */
export const LARGE_RECORD_MS = 30_000;
export const LARGE_RECORD_BYTES_PER_MS = 64;
