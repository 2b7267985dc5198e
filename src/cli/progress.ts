// Progress of a long command on standard error: a bar that is drawn over on a terminal, a line now and then in a log, nothing for JSON.
import { formatBytes } from '../util/format-bytes.ts';

const BAR_WIDTH = 30;
const TERMINAL_EVERY_MS = 100;
const LOG_EVERY_MS = 10_000;

export class Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #quiet: boolean;
  readonly #started = performance.now();
  #lastShown = Number.NEGATIVE_INFINITY;
  #drawn = false;

  constructor(stream: NodeJS.WriteStream, quiet: boolean) {
    this.#stream = stream;
    this.#quiet = quiet;
    // The first line of a log comes after the first interval: short commands stay silent.
    if (!stream.isTTY) this.#lastShown = this.#started;
  }

  /** `bytesTotal` is undefined while nobody knows it. */
  update(what: string, bytesDone: number, bytesTotal: number | undefined): void {
    const now = performance.now();
    if (this.#quiet || now - this.#lastShown < (this.#stream.isTTY ? TERMINAL_EVERY_MS : LOG_EVERY_MS)) return;
    this.#lastShown = now;
    const rate = `${formatBytes(Math.round(bytesDone / Math.max(0.001, (now - this.#started) / 1000)))}/s`;
    const share = bytesTotal === undefined || bytesTotal === 0 ? undefined : Math.min(1, bytesDone / bytesTotal);
    const percent = share === undefined ? '' : `${Math.floor(share * 100)}%`.padStart(4);
    const amount =
      bytesTotal === undefined ? formatBytes(bytesDone) : `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}`;
    if (!this.#stream.isTTY) {
      this.#stream.write(`${what}: ${percent} ${amount}, ${rate}\n`);
      return;
    }
    const filled = Math.round((share ?? 0) * BAR_WIDTH);
    this.#stream.write(
      `\r\x1b[K${what} [${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}]${percent} ${amount} ${rate}`,
    );
    this.#drawn = true;
  }

  /** Takes the bar away. */
  end(): void {
    if (this.#drawn) this.#stream.write('\r\x1b[K');
    this.#drawn = false;
  }
}
