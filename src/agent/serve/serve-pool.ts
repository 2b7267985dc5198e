// Gives the work of serving disks to the threads of a pool: to the one that has the least to do.
import type { ObjectId, StoredObject } from '../../chunker/object.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { LoadFailure, LoadWork } from './load-pieces.ts';

export class ServePool {
  readonly #pool: WorkerPool;
  readonly #waiting: number[];

  private constructor(pool: WorkerPool) {
    this.#pool = pool;
    this.#waiting = Array.from({ length: pool.size }, () => 0);
  }

  /** Gives every thread the slab into which it loads. */
  static async start(pool: WorkerPool, slab: SharedArrayBuffer): Promise<ServePool> {
    await pool.all('serve.slab', slab);
    return new ServePool(pool);
  }

  load(work: LoadWork): Promise<readonly LoadFailure[]> {
    return this.#call('serve.load', work);
  }

  read(space: number, id: ObjectId): Promise<StoredObject> {
    return this.#call('store.read', { space, id });
  }

  async #call<Result>(method: string, argument: unknown): Promise<Result> {
    const thread = this.#waiting.indexOf(Math.min(...this.#waiting));
    this.#waiting[thread] = (this.#waiting[thread] as number) + 1;
    try {
      return await this.#pool.call<Result>(thread, method, argument);
    } finally {
      this.#waiting[thread] = (this.#waiting[thread] as number) - 1;
    }
  }
}
