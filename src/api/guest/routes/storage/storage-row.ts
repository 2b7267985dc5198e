// Storages as lists show them: those that the caller may look at, each with its space.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Static, Type } from 'typebox';
import { HoldfastError } from '../../../../util/errors.ts';
import { ApiError } from '../../../dialect/failure.ts';
import { type GuestCall, LIST_ANSWER_MS, may } from '../../method.ts';
import type { StorageEntry, StorageStatus } from '../../services.ts';
import { Count, Flag, flag } from '../parameters.ts';

export const StorageRow = Type.Object({
  storage: Type.String(),
  type: Type.String(),
  content: Type.String(),
  enabled: Flag,
  active: Flag,
  shared: Flag,
  total: Count,
  used: Count,
  avail: Count,
  used_fraction: Type.Number(),
});

const NO_SPACE: StorageStatus = { isActive: false, totalBytes: 0, usedBytes: 0, availableBytes: 0 };

export async function visibleStorages(call: GuestCall): Promise<readonly StorageEntry[]> {
  const all = await call.services.storages.list();
  return all.filter(({ storage }) => may(call, `/storage/${storage}`, 'Datastore.Audit', 'Datastore.AllocateSpace'));
}

/** One that refuses, or hangs as a network file system can, is not active: a list must not fail or wait for it. */
export async function storageSpace({ services }: GuestCall, storage: string): Promise<StorageStatus> {
  const answered = new AbortController();
  const late = sleep(LIST_ANSWER_MS, NO_SPACE, { signal: answered.signal });
  try {
    return await Promise.race([services.storages.status(storage), late]);
  } catch (error) {
    if (error instanceof HoldfastError) return NO_SPACE;
    throw error;
  } finally {
    late.catch(() => undefined);
    answered.abort();
  }
}

/** @throws ApiError 500 in the words that clients take for a storage that is not there. */
export async function findStorage({ services }: GuestCall, storage: string): Promise<StorageEntry> {
  const found = (await services.storages.list()).find((each) => each.storage === storage);
  if (found === undefined) throw new ApiError(500, 'not-found', `storage '${storage}' does not exist`);
  return found;
}

export function storageRowOf(
  { storage, type, content, isEnabled, isShared }: StorageEntry,
  { isActive, totalBytes, usedBytes, availableBytes }: StorageStatus,
): Static<typeof StorageRow> {
  return {
    storage,
    type,
    content: content.join(','),
    enabled: flag(isEnabled),
    active: flag(isActive),
    shared: flag(isShared),
    total: totalBytes,
    used: usedBytes,
    avail: availableBytes,
    used_fraction: totalBytes === 0 ? 0 : usedBytes / totalBytes,
  };
}
