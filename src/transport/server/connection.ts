// What the calls of one connection share: memory for its records, and the session that it last served.
import type { Activity } from './activity.ts';
import { LIMITS } from './bulk-limits.ts';
import { FrameReader } from './frame-reader.ts';

export class Connection {
  readonly frames = new FrameReader(LIMITS.recordBytes);
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
