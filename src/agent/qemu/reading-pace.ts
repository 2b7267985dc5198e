// How much of QEMU a backup takes for itself: its main loop serves the guest's requests and ours, one after the other. While the guest writes, few of ours stand
// in the queue before its own.
import { setTimeout as sleep } from 'node:timers/promises';
import { type QmpCommands, queryDiskTraffic } from '../../guests/qmp/qmp-types.ts';
import { type Pace, type SharedPace, setPace, sharePace } from '../nbd/pace.ts';

/** QEMU copies whole clusters of so many bytes before a write. */
const CLUSTER_BYTES = 64 * 1024;
// Measured: docs/design.md, section 6.
const BESIDE_WRITES: Pace = { bytes: CLUSTER_BYTES, depth: 4 };
const ALONE: Pace = { bytes: 4 * CLUSTER_BYTES, depth: 4 };
const ALONE_BY_CLUSTER: Pace = { bytes: CLUSTER_BYTES, depth: 16 };
const LOOK_MS = 250;
/** A guest that writes less often hardly meets a read. */
const BUSY_WRITES_PER_SECOND = 20;

export class ReadingPace {
  /** For all who read. */
  readonly pace: SharedPace;
  readonly #alone: Pace;
  readonly #ending = new AbortController();
  readonly #looking: Promise<void>;

  private constructor(monitor: QmpCommands, byCluster: boolean) {
    this.#alone = byCluster ? ALONE_BY_CLUSTER : ALONE;
    this.pace = sharePace(this.#alone);
    // A monitor that does not answer any more is told by those who need it.
    this.#looking = this.#follow(monitor).catch(() => undefined);
  }

  /** Follows the guest's writes until it is stopped. `byCluster`: no read is to be of more than one cluster. */
  static start(monitor: QmpCommands, { byCluster }: { readonly byCluster: boolean }): ReadingPace {
    return new ReadingPace(monitor, byCluster);
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
        setPace(this.pace, perSecond >= BUSY_WRITES_PER_SECOND ? BESIDE_WRITES : this.#alone);
      }
      before = now;
      await sleep(LOOK_MS, undefined, { signal });
    }
  }
}
