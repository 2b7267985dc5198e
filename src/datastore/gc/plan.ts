// What a collection will do, decided from figures alone: packs to drop, and jobs that copy what is live of some packs into a new one.
import { PACK_TARGET_BYTES } from '../packs/pack-format.ts';

export interface PackFigures {
  readonly pack: number;
  readonly kind: number;
  readonly fileBytes: number;
  /** Bytes of live records, frames not counted. */
  readonly liveBytes: number;
  readonly deadBytes: number;
  readonly liveRecords: number;
}

export interface Job {
  readonly kind: number;
  readonly packs: readonly number[];
  readonly liveBytes: number;
  /** Bytes that the files of the packs take. */
  readonly fileBytes: number;
}

export interface Plan {
  /** Wholly dead. */
  readonly drop: readonly PackFigures[];
  readonly rewrite: readonly Job[];
  /** Dead bytes in packs that are left as they are. */
  readonly pendingBytes: number;
}

/** A pack more than a third dead is always worth rewriting. */
const ALWAYS_WORTH_SHARE = 1 / 3;
/** Others are taken, the deadest first, until this share of all dead bytes goes, */
const WANTED_SHARE = 0.95;
/** but none that is less dead than this: copying 49 live bytes to free one is no bargain. */
const NEVER_WORTH_SHARE = 0.02;
/** Packs below this size are merged, */
const SMALL_BYTES = 16 * 1024 * 1024;
/** once there are so many of a kind: a night's session leaves one of each. */
const SMALL_COUNT = 16;
/** Most packs of one job: it bounds what is held in `condemned/` beside the new pack. */
const JOB_PACKS = 64;

export function planCollection(figures: readonly PackFigures[]): Plan {
  const drop = figures.filter((pack) => pack.liveRecords === 0);
  const rest = figures.filter((pack) => pack.liveRecords > 0);
  const chosen = new Set<PackFigures>([...worthRewriting(drop, rest), ...worthMerging(rest)]);
  const jobs: Job[] = [];
  for (const kind of new Set([...chosen].map((pack) => pack.kind)))
    jobs.push(
      ...intoJobs(
        kind,
        [...chosen].filter((pack) => pack.kind === kind),
      ),
    );
  const pendingBytes = rest.filter((pack) => !chosen.has(pack)).reduce((sum, pack) => sum + pack.deadBytes, 0);
  return { drop, rewrite: jobs.sort((a, b) => gain(b) - gain(a)), pendingBytes };
}

function worthRewriting(drop: readonly PackFigures[], rest: readonly PackFigures[]): PackFigures[] {
  const dead = (packs: readonly PackFigures[]): number => packs.reduce((sum, pack) => sum + pack.deadBytes, 0);
  const wanted = WANTED_SHARE * (dead(drop) + dead(rest));
  let freed = dead(drop);
  const chosen: PackFigures[] = [];
  for (const pack of [...rest].sort((a, b) => deadShare(b) - deadShare(a))) {
    const share = deadShare(pack);
    if (share <= ALWAYS_WORTH_SHARE && (freed >= wanted || share < NEVER_WORTH_SHARE)) break;
    chosen.push(pack);
    freed += pack.deadBytes;
  }
  return chosen;
}

function worthMerging(rest: readonly PackFigures[]): PackFigures[] {
  const small = rest.filter((pack) => pack.fileBytes < SMALL_BYTES);
  return small.filter((pack) => small.filter((other) => other.kind === pack.kind).length > SMALL_COUNT);
}

/** First fit in the order given: each job makes one pack. */
function intoJobs(kind: number, packs: readonly PackFigures[]): Job[] {
  const jobs: { kind: number; packs: number[]; liveBytes: number; fileBytes: number }[] = [];
  for (const pack of packs) {
    let job = jobs.find(
      (open) => open.packs.length < JOB_PACKS && open.liveBytes + pack.liveBytes <= PACK_TARGET_BYTES,
    );
    if (job === undefined) {
      job = { kind, packs: [], liveBytes: 0, fileBytes: 0 };
      jobs.push(job);
    }
    job.packs.push(pack.pack);
    job.liveBytes += pack.liveBytes;
    job.fileBytes += pack.fileBytes;
  }
  return jobs;
}

function deadShare(pack: PackFigures): number {
  return pack.deadBytes / Math.max(1, pack.deadBytes + pack.liveBytes);
}

function gain(job: Job): number {
  return job.fileBytes - job.liveBytes;
}
