// Replays a recording up to chosen power cuts and shows each resulting disk to a check. The state before a cut is built
// forward on one working image; every cut gets a sparse copy of it, so a check may write what it likes.
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { type CrashChoice, type CrashPoint, chooseCrashPoints, randomNumbers } from './crash-points.ts';
import type { Recording } from './rig.ts';
import { command, Scratch, unmount } from './scratch.ts';
import { type LogEntry, WriteLog } from './write-log.ts';

/** What a disk writes as a whole or not at all. */
const BLOCK_BYTES = 4096;

/** Throws when the state after the cut is wrong. `lastMark` had been acknowledged before it. */
export type CrashCheck = (mountPath: string, lastMark: number, point: CrashPoint) => void | Promise<void>;
/** The same with the disk that lost its power, not yet mounted; it is removed afterwards. */
export type ImageCheck = (image: string, lastMark: number, point: CrashPoint) => void | Promise<void>;

export interface BadPoint {
  readonly point: CrashPoint;
  readonly lastMark: number;
  readonly error: unknown;
}

export interface ReplayReport {
  readonly points: number;
  readonly bad: readonly BadPoint[];
  /** Wall time of a point with its check, and the part of it that made the image. */
  readonly msPerPoint: number;
  readonly imageMsPerPoint: number;
}

export class Replay {
  readonly log: WriteLog;
  readonly #recording: Recording;

  /** Of a finished recording whose rig is not disposed. */
  constructor(recording: Recording) {
    this.#recording = recording;
    this.log = new WriteLog(recording.log, recording.markOffset);
  }

  close(): void {
    this.log.close();
  }

  crashPoints(choice: CrashChoice): CrashPoint[] {
    return chooseCrashPoints(this.log.entries, choice);
  }

  /** Throws unless the whole log on the disk from before gives the disk from after, byte by byte. */
  assertComplete(): void {
    const scratch = Scratch.create(2 * this.#recording.markOffset);
    try {
      const work = join(scratch.path, 'work.raw');
      const builder = new ImageBuilder(this.log, this.#recording.base, work);
      builder.advance(this.log.entries.length);
      builder.close();
      command('cmp', [work, this.#recording.data]);
    } finally {
      scratch.dispose();
    }
  }

  /** Mounts the disk of every point for `check`. A disk that does not mount is a bad point too. */
  check(points: readonly CrashPoint[], check: CrashCheck): Promise<ReplayReport> {
    return this.checkImages(points, async (image, lastMark, point) => {
      const mountPath = join(image, '..', 'mnt');
      mkdirSync(mountPath, { recursive: true });
      command('mount', ['-t', 'ext4', '-o', 'loop', image, mountPath]);
      let thrown: unknown[] = [];
      try {
        await check(mountPath, lastMark, point);
      } catch (error) {
        thrown = [error];
      }
      try {
        unmount(mountPath);
      } catch (error) {
        command('umount', ['-l', mountPath]);
        thrown.push(error);
      }
      if (thrown.length > 0) throw thrown[0];
    });
  }

  /** The disk of every point as a file: for checks of the raw image, or to record a recovery with `PowerCutRig.fromImage`. */
  async checkImages(points: readonly CrashPoint[], check: ImageCheck): Promise<ReplayReport> {
    const scratch = Scratch.create(2 * this.#recording.markOffset);
    const bad: BadPoint[] = [];
    const started = performance.now();
    let imageMs = 0;
    try {
      const builder = new ImageBuilder(this.log, this.#recording.base, join(scratch.path, 'work.raw'));
      try {
        for (const point of builder.inOrder(points)) {
          const before = performance.now();
          const image = join(scratch.path, 'crash.raw');
          builder.build(point, image);
          imageMs += performance.now() - before;
          const lastMark = this.#lastMark(point.entry);
          try {
            await check(image, lastMark, point);
          } catch (error) {
            bad.push({ point, lastMark, error });
          }
        }
      } finally {
        builder.close();
      }
    } finally {
      scratch.dispose();
    }
    const count = Math.max(1, points.length);
    return {
      points: points.length,
      bad,
      msPerPoint: (performance.now() - started) / count,
      imageMsPerPoint: imageMs / count,
    };
  }

  #lastMark(end: number): number {
    for (let at = end - 1; at >= 0; at--) {
      const { mark } = this.log.entries[at]!;
      if (mark !== undefined) return mark;
    }
    return this.#recording.firstMark;
  }
}

/** A report in one paragraph for the message of a failed assertion. */
export function describeBadPoints(report: ReplayReport): string {
  const lines = report.bad.slice(0, 5).map(({ point, lastMark, error }) => {
    const words = error instanceof Error ? error.message : String(error);
    return `  ${JSON.stringify(point)} after mark ${lastMark}: ${words.slice(0, 500)}`;
  });
  return [`${report.bad.length} of ${report.points} crash points are bad`, ...lines].join('\n');
}

/** One working image that only moves forward. */
class ImageBuilder {
  readonly #log: WriteLog;
  readonly #work: string;
  readonly #fd: number;
  #applied = 0;

  constructor(log: WriteLog, base: string, work: string) {
    this.#log = log;
    this.#work = work;
    command('cp', ['--sparse=always', base, work]);
    this.#fd = openSync(work, 'r+');
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** The order in which points can be built. */
  inOrder(points: readonly CrashPoint[]): CrashPoint[] {
    return [...points].sort((a, b) => this.#durableEnd(a) - this.#durableEnd(b) || a.entry - b.entry);
  }

  build(point: CrashPoint, image: string): void {
    const durable = this.#durableEnd(point);
    this.advance(durable);
    // Over the last image, which a check may have grown or shrunk: a fresh file. Holes are found by SEEK_DATA.
    command('cp', ['--remove-destination', '--sparse=auto', this.#work, image]);
    if (point.mode === 'prefix') return;
    const fd = openSync(image, 'r+');
    try {
      const random = randomNumbers(point.seed * 1_000_003 + point.entry);
      for (const entry of this.#log.entries.slice(durable, point.entry)) this.#applyPart(entry, fd, random);
    } finally {
      closeSync(fd);
    }
  }

  advance(end: number): void {
    for (; this.#applied < end; this.#applied++) this.#log.apply(this.#log.entries[this.#applied]!, this.#fd);
  }

  /** Before which entry everything is safe: in cache mode, up to the last flush. A write that carries a flush flag is itself behind that flush. */
  #durableEnd(point: CrashPoint): number {
    if (point.mode === 'prefix') return point.entry;
    for (let at = point.entry - 1; at >= 0; at--) {
      const entry = this.#log.entries[at]!;
      if (entry.flush) return entry.lengthBytes === 0 ? at + 1 : at;
    }
    return 0;
  }

  /** Of the writes, two in five arrive, two in five are lost, and one in five arrives in some of its blocks. */
  #applyPart(entry: LogEntry, image: number, random: () => number): void {
    const fate = random();
    if (entry.fua || fate < 0.4) {
      this.#log.apply(entry, image);
    } else if (fate >= 0.8) {
      for (let start = 0; start < entry.lengthBytes; start += BLOCK_BYTES) {
        const end = Math.min(entry.lengthBytes, start + BLOCK_BYTES);
        if (random() < 0.5) this.#log.apply(entry, image, { start, end });
      }
    }
  }
}
