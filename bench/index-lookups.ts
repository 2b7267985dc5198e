// One thread that asks a shared index for random ids that are there: many in one call, as a session asks for the refs of an
// object, or one by one. It says how many it was answered per second of its own wall time.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { ObjectIndex } from '../src/datastore/index/object-index.ts';
import { SharedBuffers } from '../src/util/shared-buffers.ts';

export type Asking = 'together' | 'one by one';

interface Task {
  readonly channel: string;
  readonly buffers: Map<string, SharedArrayBuffer>;
  readonly asking: Asking;
}

const LOOKUPS = 4_000_000;
const IDS_AT_ONCE = 65536;
/** Rounds before the measured ones, in which the compiler finishes. */
const WARM_UP_ROUNDS = 4;

/** The sum of the rates of `threads` threads that ask at the same time. */
export async function lookupsPerSecond(shared: SharedBuffers, threads: number, asking: Asking): Promise<number> {
  const task: Task = { channel: shared.channelName, buffers: shared.snapshot(), asking };
  const rates = await Promise.all(
    Array.from({ length: threads }, () => {
      const worker = new Worker(new URL('index-lookups.mjs', import.meta.url), { workerData: task });
      return new Promise<number>((resolve, reject) => worker.once('message', resolve).once('error', reject));
    }),
  );
  return rates.reduce((sum, rate) => sum + rate, 0);
}

function lookUp({ channel, buffers, asking }: Task): number {
  const shared = new SharedBuffers(channel);
  shared.adopt(buffers);
  const index = ObjectIndex.attach(shared);
  const ids = Buffer.alloc(IDS_AT_ONCE * 32);
  const entries = new Int32Array(IDS_AT_ONCE);
  const rounds = Math.ceil(LOOKUPS / IDS_AT_ONCE);
  let elapsedMs = 0;
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    for (let place = 0; place < IDS_AT_ONCE; place++)
      index.id(Math.floor(Math.random() * Math.min(index.entryLimit, index.count))).copy(ids, place * 32);
    entries.fill(-1);
    const start = performance.now();
    if (asking === 'together') index.firstOfEach(0, ids, entries);
    else for (let place = 0; place < IDS_AT_ONCE; place++) entries[place] = index.first(0, ids, place * 32);
    if (round >= 0) elapsedMs += performance.now() - start;
    if (entries.includes(-1)) throw new Error('an id that is there was not found');
  }
  shared.close();
  return (rounds * IDS_AT_ONCE) / (elapsedMs / 1000);
}

if (!isMainThread) parentPort?.postMessage(lookUp(workerData as Task));
