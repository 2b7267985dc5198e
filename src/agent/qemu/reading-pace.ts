// How much of QEMU a backup takes for itself: its main loop serves the guest's requests and ours, one after the other. While the guest writes, few of ours stand
// in the queue before its own.
import { setTimeout as sleep } from 'node:timers/promises';
import { type QmpCommands, queryDiskTraffic } from '../../guests/qmp/qmp-types.ts';

/** Reads on the way at once. Measured with 64 KiB each: docs/design.md, section 6. */
const DEPTH = { alone: 16, besideWrites: 4 };
const LOOK_MS = 250;
/** A guest that writes less often hardly meets a read. */
const BUSY_WRITES_PER_SECOND = 20;

export class ReadingPace {
  /** An Int32 for all who read. */
  readonly depth = new SharedArrayBuffer(4);
  readonly #ending = new AbortController();
  readonly #looking: Promise<void>;

  private constructor(monitor: QmpCommands) {
    this.#set(DEPTH.alone);
    // A monitor that does not answer any more is told by those who need it.
    this.#looking = this.#follow(monitor).catch(() => undefined);
  }

  /** Follows the guest's writes until it is stopped. */
  static start(monitor: QmpCommands): ReadingPace {
    return new ReadingPace(monitor);
  }

  /** Returns once the monitor is left alone. */
  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#looking;
  }

  async #follow(monitor: QmpCommands): Promise<void> {
    const { signal } = this.#ending;
    for (let before: { writes: number; at: number } | undefined; !signal.aborted; ) {
      const { writes } = await queryDiskTraffic(monitor);
      const now = { writes, at: performance.now() };
      if (before !== undefined) {
        const perSecond = ((now.writes - before.writes) * 1000) / (now.at - before.at);
        this.#set(perSecond >= BUSY_WRITES_PER_SECOND ? DEPTH.besideWrites : DEPTH.alone);
      }
      before = now;
      await sleep(LOOK_MS, undefined, { signal });
    }
  }

  #set(depth: number): void {
    Atomics.store(new Int32Array(this.depth), 0, depth);
  }
}
