// What passes between a worker thread and the hub in the main thread: records one way, questions and answers both. The counters beside the
// port let a thread wait in the middle of a computation.
import type { MessagePort } from 'node:worker_threads';
import type { ObjectKey } from '../../chunker/object-codec.ts';
import type { PlainError } from '../../util/plain-error.ts';

export type ToHub =
  /** Frames `u32 length · record`, one after the other; children before what names them. */
  | { readonly kind: 'records'; readonly frames: Uint8Array }
  /** The same in a piece of the shared room, which is given back when all of them were answered. */
  | { readonly kind: 'piece'; readonly piece: number; readonly bytes: number }
  /** `ids` one after the other. The answer may be put into `area` of the shared room. */
  | {
      readonly kind: 'ask';
      readonly call: number;
      readonly method: 'have' | 'get';
      readonly ids: Uint8Array;
      readonly area: number | undefined;
    };

export type FromHub = { readonly call: number } & (
  | { readonly bytes: Uint8Array }
  /** So many bytes are in the area that was offered. */
  | { readonly area: number; readonly filled: number }
  | { readonly error: PlainError }
);

/** Places in the shared Int32Array of a thread. */
export const Counter = {
  /** Bytes of frames that the thread handed over and the server has not answered. */
  unanswered: 0,
  /** Raised with each answer. */
  answers: 1,
  /** 1 when the session failed: whoever waits for room asks why. */
  failed: 2,
  /** 1 when nobody answers any more. */
  closed: 3,
  length: 4,
} as const;

/** What a thread is told when it joins a session at a server; the port is transferred. */
export interface RemoteJoin {
  /** Name of the session in this process. */
  readonly session: string;
  /** `backup`: a sink; `read`: the fetcher of the space. */
  readonly kind: 'backup' | 'read';
  readonly space: number;
  /** A secret: never to be logged. */
  readonly key: ObjectKey | undefined;
  readonly compressionLevel: number;
  /** Ask for every chunk, also of pages that are known: something below them is damaged. */
  readonly isThorough: boolean;
  /** Of `SentIds`: nothing was in scope when the session opened, and only what is noted there is asked about. */
  readonly sentIds: SharedArrayBuffer | undefined;
  /** Most ids of one question. */
  readonly haveIds: number;
  readonly getIds: number;
  readonly counters: SharedArrayBuffer;
  /** Of `SharedRoom`. */
  readonly room: SharedArrayBuffer;
  readonly port: MessagePort;
}
