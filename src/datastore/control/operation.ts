// Work on an open datastore that any process may ask for: it runs in the one that holds the store (docs/design.md, section 4).
import type { TSchema } from 'typebox';
import type { HeldDatastore } from '../held-datastore.ts';

/** What the one who asked can do and see while it runs. */
export interface Work {
  readonly signal: AbortSignal;
  /** They may do what an owner of backups may, and no more: not settle an anomaly. */
  readonly isOnlyOwner?: boolean;
  onProgress(what: string, bytesDone: number, bytesTotal: number | undefined): void;
  /** A line for the user. */
  warn(message: string): void;
}

/** Arguments and result are plain JSON. To run it again from its beginning does no harm: a holder that dies leaves it to whoever asked. */
export interface Operation<Argument, Result> {
  readonly name: string;
  /** What a server's answer is checked with. */
  readonly answer: TSchema;
  /** It is long, and loses little when it is broken off: a holder that ends does not wait for it. */
  readonly isLong?: boolean;
  run(store: HeldDatastore, argument: Argument, work: Work): Promise<Result>;
}

/** Every operation that a process offers, by name. */
export type Operations = ReadonlyMap<string, Operation<never, unknown>>;
