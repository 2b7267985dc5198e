// Runs one walk over all threads of the pool, in slices, and hands work from threads that have much to those that have none.
import { randomUUID } from 'node:crypto';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { WalkStart } from './gc-thread.ts';
import type { Root, Unreadable, WalkProgress } from './walk.ts';

/** A slice: short, so that a backup in the same thread hardly waits. */
const SLICE_MS = 30;

export interface Walked {
  readonly metadataRead: number;
  readonly unreadable: readonly Unreadable[];
}

/** `giveWay` is called after each slice with the time that it took of each thread. */
export async function walkAll(
  pool: WorkerPool,
  start: Omit<WalkStart, 'walk' | 'roots'>,
  roots: readonly Root[],
  signal: AbortSignal,
  giveWay: (tookMs: number) => Promise<void> = async () => {},
): Promise<Walked> {
  const threads = Array.from({ length: pool.size }, (_, thread) => thread);
  const walk = randomUUID();
  let metadataRead = 0;
  const unreadable: Unreadable[] = [];
  try {
    await Promise.all(
      threads.map((thread) =>
        pool.call(thread, 'gc.startWalk', {
          ...start,
          walk,
          roots: roots.filter((_, place) => place % pool.size === thread),
        }),
      ),
    );
    let busy = threads;
    while (busy.length > 0) {
      signal.throwIfAborted();
      const progress = await Promise.all(
        busy.map((thread) => pool.call<WalkProgress>(thread, 'gc.walk', { walk, budgetMs: SLICE_MS })),
      );
      for (const slice of progress) {
        metadataRead += slice.metadataRead;
        unreadable.push(...slice.unreadable);
      }
      busy = busy.filter((_, place) => !progress[place]?.isDone);
      if (busy.length === 0) break;
      busy = await handOut(pool, walk, threads, busy);
      await giveWay(SLICE_MS);
    }
  } finally {
    await pool.all('gc.endWalk', walk);
  }
  return { metadataRead, unreadable };
}

/** Gives idle threads half of what a busy one has left; returns who has work then. */
async function handOut(
  pool: WorkerPool,
  walk: string,
  threads: readonly number[],
  busy: readonly number[],
): Promise<number[]> {
  const now = [...busy];
  for (const idle of threads.filter((thread) => !busy.includes(thread))) {
    const giver = busy[idle % busy.length] as number;
    const share = await pool.call<Root[]>(giver, 'gc.share', walk);
    if (share.length === 0) continue;
    await pool.call(idle, 'gc.take', { walk, roots: share });
    now.push(idle);
  }
  return now;
}
