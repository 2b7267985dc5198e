// What a thread keeps of one connection: memory for its records, whether a call runs, and the session that it last served.
import type { Activity } from './activity.ts';
import { LIMITS } from './bulk-limits.ts';
import { FrameReader } from './frame-reader.ts';

export class Connection {
  readonly frames = new FrameReader(LIMITS.recordBytes);
  /** Calls on one connection follow each other. */
  isBusy = false;
  #activity: Activity | undefined;

  /** Counts the connection for the session of its latest call. */
  serve(activity: Activity): void {
    if (this.#activity === activity) return;
    this.#activity?.connectionLeft();
    this.#activity = activity;
    activity.connectionTaken();
  }

  close(): void {
    this.#activity?.connectionLeft();
    this.#activity = undefined;
  }
}
