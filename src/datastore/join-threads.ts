// How worker threads come to see an open datastore: they listen for new shared buffers first, then get all that are there.
import type { SharedBuffers } from '../util/shared-buffers.ts';
import type { WorkerPool } from '../util/worker-pool.ts';
import type { StoreThreadInit } from './store-thread.ts';

/** Sends every thread of the pool what it needs to see the store. */
export async function joinThreads(
  pool: WorkerPool,
  shared: SharedBuffers,
  init: Omit<StoreThreadInit, 'shared'>,
): Promise<void> {
  // Threads listen to the channel before the snapshot is taken, so that no buffer falls between the two.
  await pool.all('store.listen', shared.channelName);
  await pool.all('store.join', { ...init, shared: shared.snapshot() } satisfies StoreThreadInit);
}
