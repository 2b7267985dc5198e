// What a session may still store, counted by all its threads in shared memory: one counter per quota, which every session under that
// quota shares, and a look at the free space now and then. Nothing is stored past a quota; what was stored stays for a retry.
import { HoldfastError } from '../../util/errors.ts';
import { CHECK_EVERY_BYTES, requireSpace } from './low-space.ts';

/** One quota as a session meets it; structured-cloneable. */
export interface QuotaShare {
  /** `namespace office` or `owner root@pam`, for messages. */
  readonly name: string;
  readonly quotaBytes: number;
  /** Bytes that the counter may reach while this session is open. */
  readonly ceilingBytes: number;
  /** One BigInt64: bytes that sessions under this quota have stored since the counter began. */
  readonly spent: SharedArrayBuffer;
}

export interface AllowanceDescriptor {
  readonly root: string;
  readonly lowSpaceBytes: number;
  readonly quotas: readonly QuotaShare[];
  /** One BigInt64: bytes that this session has stored. */
  readonly stored: SharedArrayBuffer;
}

export class Allowance {
  readonly #descriptor: AllowanceDescriptor;
  readonly #stored: BigInt64Array;
  readonly #spent: readonly BigInt64Array[];
  #bytesSinceCheck = CHECK_EVERY_BYTES;

  constructor(descriptor: AllowanceDescriptor) {
    this.#descriptor = descriptor;
    this.#stored = new BigInt64Array(descriptor.stored);
    this.#spent = descriptor.quotas.map(({ spent }) => new BigInt64Array(spent));
  }

  /**
   * Called before a record of at most `lengthBytes` is stored.
   * @throws `quota-exceeded`, `disk-full` when the file system is below the low-space limit.
   */
  requireRoom(lengthBytes: number): void {
    this.#descriptor.quotas.forEach((quota, place) => {
      const spent = Number(Atomics.load(this.#spent[place] as BigInt64Array, 0));
      if (spent + lengthBytes > quota.ceilingBytes) throw quotaExceeded(quota, spent - quota.ceilingBytes);
    });
    if (this.#bytesSinceCheck < CHECK_EVERY_BYTES) return;
    requireSpace(this.#descriptor.root, this.#descriptor.lowSpaceBytes);
    this.#bytesSinceCheck = 0;
  }

  /** Called when a record was stored. Threads that store at the same moment pass a quota by one record each at most. */
  spend(lengthBytes: number): void {
    this.#bytesSinceCheck += lengthBytes;
    Atomics.add(this.#stored, 0, BigInt(lengthBytes));
    for (const spent of this.#spent) Atomics.add(spent, 0, BigInt(lengthBytes));
  }
}

/** `overBytes` is how far usage lies above the quota; negative below it. */
export function quotaExceeded(quota: Pick<QuotaShare, 'name' | 'quotaBytes'>, overBytes: number): HoldfastError {
  const usedBytes = quota.quotaBytes + overBytes;
  return new HoldfastError(
    'quota-exceeded',
    `${quota.name} uses ${usedBytes} of its quota of ${quota.quotaBytes} bytes, and this backup needs more; forget snapshots and run holdfast datastore gc, or raise it: holdfast datastore quota set`,
    { data: { quota: quota.name, usedBytes, quotaBytes: quota.quotaBytes } },
  );
}
