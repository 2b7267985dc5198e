// How far a task is: rate and time left from what the last half minute brought, and now and then a line for the log.
import { formatBytes } from '../../util/format-bytes.ts';
import type { ProgressReport, TaskProgress } from './task.ts';

const WINDOW_MS = 30_000;
const SAMPLE_EVERY_MS = 1000;
/** The log gets a line when so much more is done, or so much time has gone, but never sooner than LINE_AT_LEAST_MS after the last. */
const LINE_EVERY_PERCENT = 10;
const LINE_EVERY_MS = 60_000;
const LINE_AT_LEAST_MS = 2000;

export class Progress {
  /** Oldest first, a second apart: no more than 31. */
  #samples: { readonly timeMs: number; readonly bytes: number }[] = [];
  #report: ProgressReport | undefined;
  #lineAtMs: number;
  #linePercent = 0;

  constructor(startedMs: number) {
    this.#lineAtMs = startedMs;
  }

  /** Takes a report; returns a line when one is due. */
  update(report: ProgressReport, nowMs: number): string | undefined {
    const last = this.#samples.at(-1);
    // Another phase, work that begins again, or a clock that was set back: old figures say nothing of the rate.
    const isNew =
      this.#report?.what !== report.what || report.bytesDone < this.#report.bytesDone || nowMs < (last?.timeMs ?? 0);
    if (isNew) this.#samples = [];
    if (this.#report !== undefined && this.#report.what !== report.what) this.#linePercent = 0;
    if (nowMs < this.#lineAtMs) this.#lineAtMs = nowMs;
    this.#report = report;
    if (isNew || last === undefined || nowMs - last.timeMs >= SAMPLE_EVERY_MS) {
      this.#samples.push({ timeMs: nowMs, bytes: report.bytesDone });
      while (nowMs - this.#samples[0].timeMs > WINDOW_MS && this.#samples.length > 2) this.#samples.shift();
    }
    return this.#lineWhenDue(nowMs);
  }

  /** Undefined before the first report. */
  at(nowMs: number): TaskProgress | undefined {
    if (this.#report === undefined) return undefined;
    const { what, bytesDone, bytesTotal } = this.#report;
    const percent =
      bytesTotal === undefined || bytesTotal <= 0 ? undefined : Math.min(100, (bytesDone / bytesTotal) * 100);
    const first = this.#samples[0];
    const spanMs = nowMs - first.timeMs;
    const bytesPerSecond =
      spanMs < SAMPLE_EVERY_MS ? undefined : Math.max(0, ((bytesDone - first.bytes) / spanMs) * 1000);
    const leftBytes = bytesTotal === undefined ? undefined : Math.max(0, bytesTotal - bytesDone);
    const etaSeconds = leftBytes === undefined || !bytesPerSecond ? undefined : Math.ceil(leftBytes / bytesPerSecond);
    return { what, bytesDone, bytesTotal, percent, bytesPerSecond, etaSeconds };
  }

  #lineWhenDue(nowMs: number): string | undefined {
    const now = this.at(nowMs) as TaskProgress;
    const sinceMs = nowMs - this.#lineAtMs;
    const isFurther = (now.percent ?? 0) - this.#linePercent >= LINE_EVERY_PERCENT;
    if (sinceMs < LINE_AT_LEAST_MS || (sinceMs < LINE_EVERY_MS && !isFurther)) return undefined;
    this.#lineAtMs = nowMs;
    this.#linePercent = now.percent ?? 0;
    return line(now);
  }
}

function line({ what, bytesDone, bytesTotal, percent, bytesPerSecond, etaSeconds }: TaskProgress): string {
  const parts = [
    percent === undefined
      ? `${what}: ${size(bytesDone)}`
      : `${what}: ${percent.toFixed(1)}% (${size(bytesDone)} of ${size(bytesTotal ?? 0)})`,
  ];
  if (bytesPerSecond !== undefined) parts.push(`${size(bytesPerSecond)}/s`);
  if (etaSeconds !== undefined && etaSeconds > 0) parts.push(`${etaText(etaSeconds)} left`);
  return parts.join(', ');
}

function size(bytes: number): string {
  return formatBytes(Math.round(bytes));
}

function etaText(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  const pair = (value: number): string => String(value).padStart(2, '0');
  return `${hours}:${pair(minutes)}:${pair(seconds % 60)}`;
}
