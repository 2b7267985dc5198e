// One download in a worker thread: its bytes are made while somebody asks for the next part, and not otherwise. Between two parts the thread
// does other work, so nothing here holds memory of the arena from one to the next.
import { HoldfastError } from '../../util/errors.ts';
import { Gate } from './gate.ts';
import { Outlet } from './outlet.ts';

/** How long a thread works for a part before others get their turn, as in a garbage collection. */
const SLICE_MS = 30;
/** All that a step waits for is in this thread: one that takes so long never ends, and would keep the thread from all else. */
const STALLED_MS = 30_000;

/** Structured-cloneable. */
export interface DownloadPart {
  /** May be empty when the time was over before anything was made. */
  readonly bytes: Uint8Array;
  readonly isLast: boolean;
}

/** What makes the bytes: it writes to `outlet`, and passes `gate` before each read. */
export type Producer = (tools: DownloadTools) => Promise<unknown>;

export interface DownloadTools {
  readonly outlet: Outlet;
  readonly gate: Gate;
  readonly signal: AbortSignal;
}

export class Download {
  readonly #produce: Producer;
  readonly #stalledMs: number;
  readonly #outlet = new Outlet(() => this.#wake());
  readonly #gate = new Gate(() => this.#wake());
  readonly #stop = new AbortController();
  #outcome: { readonly error: unknown } | 'running' | 'ended' | undefined;
  #wake = (): void => {};

  constructor(produce: Producer, stalledMs = STALLED_MS) {
    this.#produce = produce;
    this.#stalledMs = stalledMs;
  }

  /** The next part. One call after the other. @throws what the producer throws; nothing comes after it. */
  async next(): Promise<DownloadPart> {
    const paused = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#gate.open(SLICE_MS);
    this.#outlet.resume();
    if (this.#outcome === undefined) this.#start();
    if (this.#outcome === 'running' && !this.#outlet.isFull) await this.#unlessStalled(paused);
    this.#gate.shut();
    const outcome = this.#outcome;
    if (typeof outcome === 'object') throw outcome.error;
    const bytes = this.#outlet.take();
    return { bytes, isLast: outcome === 'ended' && this.#outlet.isEmpty };
  }

  /** Ends it, whatever it does. */
  close(): void {
    const over = new HoldfastError('aborted', 'the download was ended');
    this.#stop.abort(over);
    this.#gate.fail(over);
    this.#outlet.destroy();
  }

  async #unlessStalled(paused: Promise<void>): Promise<void> {
    const timer = setTimeout(() => {
      this.#outcome = {
        error: new HoldfastError('object-damaged', 'the download does not go on; verify the snapshot'),
      };
      this.#wake();
    }, this.#stalledMs);
    try {
      await paused;
    } finally {
      clearTimeout(timer);
    }
  }

  #start(): void {
    this.#outcome = 'running';
    const { signal } = this.#stop;
    this.#produce({ outlet: this.#outlet, gate: this.#gate, signal })
      .then(
        () => {
          if (this.#outcome === 'running') this.#outcome = 'ended';
        },
        (error: unknown) => {
          this.#outcome = { error };
        },
      )
      .finally(() => this.#wake());
  }
}
