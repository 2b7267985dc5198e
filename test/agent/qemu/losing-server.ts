// A server, with a thread of its client, that loses its session and may be away: what a restore reads from when all does not go well.
import { setTimeout as sleep } from 'node:timers/promises';
import type { LoadWork } from '../../../src/agent/serve/load-pieces.ts';
import { ID_BYTES, type StoredObject } from '../../../src/chunker/object.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import type { WorkerPool } from '../../../src/util/worker-pool.ts';
import { MemoryStore } from '../serve/rig.ts';

/** A session at a server: what may be read in it is its roots, and what was named by something read in it. */
export class LosingServer extends MemoryStore {
  openings = 0;
  /** How many openings fail. */
  away = 0;
  /** After how many objects that were read the session is lost. */
  lastsFor = Number.POSITIVE_INFINITY;
  #read = 0;
  #readable = new Set<string>();
  #isOpen = true;
  #roots: readonly string[] = [];
  #slab = new SharedArrayBuffer(0);
  #turn: Promise<unknown> = Promise.resolve();

  /** One thread, which does one thing after the other. */
  readonly pool = {
    size: 1,
    call: (_: number, method: string, argument: unknown) => this.#inTurn(() => this.#do(method, argument)),
    all: async (method: string, argument: unknown) => [await this.#inTurn(() => this.#do(method, argument))],
  } as unknown as WorkerPool;

  open(roots: readonly string[]): void {
    this.#roots = roots;
    this.#readable = new Set(roots);
    this.#isOpen = true;
    this.#read = 0;
  }

  lose(): void {
    this.#isOpen = false;
  }

  readonly reopen = async (): Promise<void> => {
    this.openings++;
    await sleep(1);
    if (this.away-- > 0) throw new HoldfastError('server-unreachable', 'the server is away');
    await this.#inTurn(async () => this.open(this.#roots));
  };

  override get(id: Uint8Array): StoredObject {
    if (!this.#isOpen) throw new HoldfastError('session-gone', 'the session is gone');
    if (!this.#readable.has(Buffer.from(id).toString('hex'))) throw new HoldfastError('object-missing', 'not readable');
    if (++this.#read > this.lastsFor) this.lose();
    const object = super.get(id);
    for (let at = 0; at < object.refs.length; at += ID_BYTES)
      this.#readable.add(Buffer.from(object.refs.subarray(at, at + ID_BYTES)).toString('hex'));
    return object;
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async #do(method: string, argument: unknown): Promise<unknown> {
    await sleep(0);
    if (method === 'serve.slab') this.#slab = argument as SharedArrayBuffer;
    else if (method === 'serve.load') return await this.load(this.#slab, argument as LoadWork);
    else return this.get((argument as { id: Uint8Array }).id);
    return undefined;
  }
}
