// Keeps refusals that anybody can cause as often as they like from filling the audit log: the same one is written once in five minutes, and
// no more than so many of all a minute.
import type { AuditEvent, AuditLog } from './audit-log.ts';

const REPEAT_AFTER_MS = 5 * 60_000;
const MINUTE_MS = 60_000;
const MAX_A_MINUTE = 30;
const MAX_KEPT = 1000;

export class QuietFailures {
  readonly #audit: Pick<AuditLog, 'append'>;
  readonly #clock: () => number;
  readonly #last = new Map<string, number>();
  #minuteStartMs = Number.NEGATIVE_INFINITY;
  #writtenThisMinute = 0;
  #suppressed = 0;

  /** `clock` gives milliseconds. */
  constructor(audit: Pick<AuditLog, 'append'>, clock: () => number) {
    this.#audit = audit;
    this.#clock = clock;
  }

  /** Writes the event, or counts it for the next one that is written. */
  note(event: AuditEvent): void {
    const nowMs = this.#clock();
    if (nowMs - this.#minuteStartMs >= MINUTE_MS) {
      this.#minuteStartMs = nowMs;
      this.#writtenThisMinute = 0;
    }
    const key = `${event.action}\n${event.by}\n${event.address}`;
    const isRepeat = nowMs - (this.#last.get(key) ?? Number.NEGATIVE_INFINITY) < REPEAT_AFTER_MS;
    if (isRepeat || this.#writtenThisMinute >= MAX_A_MINUTE) {
      this.#suppressed++;
      return;
    }
    if (this.#last.size >= MAX_KEPT) this.#last.clear();
    this.#last.set(key, nowMs);
    this.#writtenThisMinute++;
    const detail = this.#suppressed === 0 ? event.detail : { ...event.detail, notWrittenBefore: this.#suppressed };
    this.#suppressed = 0;
    this.#audit.append(detail === undefined ? event : { ...event, detail });
  }
}
