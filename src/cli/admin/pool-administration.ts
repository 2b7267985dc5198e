// What the commands of pools ask for, wherever the server's state is.
import type { Pool } from '../../auth/pool-store.ts';
import type { PoolChange } from '../../auth/pools.ts';

/** Each call throws what the rules of pools say: `permission-denied`, `not-found`, `exists`, `protected`, `bad-name`, `bad-argument`. */
export interface PoolAdministration {
  list(): Promise<readonly Pool[]>;
  get(poolid: string): Promise<Pool>;
  create(poolid: string, comment: string | undefined): Promise<void>;
  change(poolid: string, change: PoolChange): Promise<void>;
  remove(poolid: string): Promise<void>;
}
