// Fifty clients at once, each with a disk of its own: all succeed, and the server stays small and answers in time.
import { createCipheriv } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { backup } from '../holdfast.ts';
import { type Answer, atLeast, atMost, type Context } from '../question.ts';
import { runToEnd } from './run-command.ts';
import { ServerStore } from './server-store.ts';

const CLIENTS = 50;
const DISK_BYTES = 40 * 2 ** 20;
const LOOK_MS = 250;
const MIB = 2 ** 20;

export async function manyClients({ workspace, scale }: Context): Promise<Answer> {
  const diskBytes = Math.max(MIB, Math.round(DISK_BYTES * Math.min(1, scale)));
  const clients = Math.max(4, Math.round(CLIENTS * Math.min(1, Math.sqrt(scale))));
  const disks = Array.from({ length: clients }, (_, place) => {
    const path = workspace.path(`client-${place}.img`);
    writeFileSync(path, noise(diskBytes, place + 1));
    return path;
  });
  const store = await ServerStore.start(workspace, 'clients');
  let peakRssBytes = 0;
  let isOver = false;
  const watch = async (): Promise<void> => {
    while (!isOver) {
      const figures = await store.admin.metrics();
      peakRssBytes = Math.max(peakRssBytes, figures.get('process_resident_memory_bytes') ?? 0);
      await sleep(LOOK_MS);
    }
  };
  try {
    // Figures of the loop start anew with each reading: the quantile of the whole run is asked for once, at its end, in a run without looks.
    await store.admin.metrics();
    const started = performance.now();
    const first = await allAtOnce(store, disks, 0);
    const seconds = (performance.now() - started) / 1000;
    const delayS =
      (await store.admin.metrics()).get('holdfast_event_loop_delay_seconds{quantile="0.99"}') ?? Number.NaN;
    for (const [place, path] of disks.entries()) writeFileSync(path, noise(diskBytes, 1000 + place));
    const watching = watch();
    const second = await allAtOnce(store, disks, CLIENTS);
    isOver = true;
    await watching;
    return {
      rows: [],
      bars: [
        atLeast(`${clients} clients at once: how many succeed`, Math.min(first, second), clients, ''),
        atMost(`${clients} clients at once: resident memory of the server`, peakRssBytes / MIB, 600, ' MiB'),
        // 50 with the 10 ms between two questions that were once in the figure.
        atMost(`${clients} clients at once: delay of the event loop, p99`, delayS * 1000, 40, ' ms'),
      ],
      facts: { clients, clientDiskMiB: diskBytes / MIB, clientsWallS: Number(seconds.toFixed(1)) },
    };
  } finally {
    isOver = true;
    await store.stop();
  }
}

/** Returns how many ended well. */
async function allAtOnce(store: ServerStore, disks: readonly string[], firstGroup: number): Promise<number> {
  const runs = disks.map((path, place) => {
    const group = `vm/${1000 + firstGroup + place}`;
    return runToEnd(store.letIn(backup(store.repository(), path, { workers: 1, group })));
  });
  return (await Promise.allSettled(runs)).filter(({ status }) => status === 'fulfilled').length;
}

/** Bytes that do not compress, the same for the same seed. */
export function noise(length: number, seed: number): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, seed % 251), Buffer.alloc(16, seed >> 8)).update(
    Buffer.alloc(length),
  );
}
