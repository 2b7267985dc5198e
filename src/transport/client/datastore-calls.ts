// Questions and operations of a datastore at a server: plain JSON there and back. Long operations are tasks there.
import { type TSchema, Type } from 'typebox';
import type { ApiLine, CallOptions } from './api-line.ts';
import { type TaskWatch, taskOutcome } from './task-watch.ts';

/** What whoever waits for an operation sees of it. */
export type OperationWatch = TaskWatch;

/** Short work may still remove thousands of snapshots. */
const OPERATION_TIMEOUT_MS = 15 * 60_000;

const Done = Type.Object({ result: Type.Optional(Type.Unknown()), upid: Type.Optional(Type.String()) });

/** What is asked by its name, and what its answer looks like. */
export interface Asked {
  readonly name: string;
  readonly answer: TSchema;
}

export class DatastoreCalls {
  readonly #api: ApiLine;
  readonly #store: string;

  constructor(api: ApiLine, store: string) {
    this.#api = api;
    this.#store = store;
  }

  /** @throws what the server refuses. */
  async ask({ name, answer }: Asked, argument: unknown, options: CallOptions): Promise<unknown> {
    return await this.#api.call('POST', `${this.#path}/query/${name}`, { argument }, answer, options);
  }

  /** @throws what the server refuses, `task-failed` when a long one failed there, the signal's reason. */
  async operate({ name, answer }: Asked, argument: unknown, watch: OperationWatch): Promise<unknown> {
    const options = { signal: watch.signal, patienceMs: 0, timeoutMs: OPERATION_TIMEOUT_MS };
    const { upid, result } = await this.#api.call(
      'POST',
      `${this.#path}/operation/${name}`,
      { argument },
      Done,
      options,
    );
    return upid === undefined
      ? this.#api.check(name, result, answer)
      : await taskOutcome(this.#api, name, upid, answer, watch);
  }

  get #path(): string {
    return `/admin/datastore/${this.#store}`;
  }
}
