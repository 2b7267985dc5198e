// Samples the memory of a process and all its descendants. PSS counts a page shared by several of them once.
import { readdirSync, readFileSync } from 'node:fs';

const SAMPLE_MS = 100;

/** Samples until `stop`, which returns the highest sum seen in MiB. A process that ends between two samples is missed. */
export function watchPss(pid: number): { stop(): number } {
  let peakKiB = 0;
  const timer = setInterval(() => {
    peakKiB = Math.max(peakKiB, pssOfTree(pid));
  }, SAMPLE_MS);
  return {
    stop() {
      clearInterval(timer);
      return peakKiB / 1024;
    },
  };
}

function pssOfTree(pid: number): number {
  try {
    const own = /^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'));
    return Number(own?.[1] ?? 0) + childrenOf(pid).reduce((sum, child) => sum + pssOfTree(child), 0);
  } catch {
    return 0; // it ended while we looked
  }
}

function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number),
  );
}
