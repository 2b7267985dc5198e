// Restores from objects in memory, without a store and threads: for objects that no store would take, and for those that are lost.

import type { ObjectFetcher } from '../../../../src/agent/object-sink.ts';
import { PieceRestorer } from '../../../../src/agent/restore/piece-restorer.ts';
import type { RestoreNotes } from '../../../../src/agent/tree/restore/restore-notes.ts';
import type { RestoreRules } from '../../../../src/agent/tree/restore/restore-rules.ts';
import { TreeRestoreThread } from '../../../../src/agent/tree/restore/restore-thread.ts';
import { runRestoreTree } from '../../../../src/agent/tree/restore/restore-tree.ts';
import { createCodec } from '../../../../src/chunker/create-codec.ts';
import type { ObjectId, StoredObject } from '../../../../src/chunker/object.ts';
import { Arena } from '../../../../src/util/arena.ts';
import { HoldfastError } from '../../../../src/util/errors.ts';
import type { WorkerPool } from '../../../../src/util/worker-pool.ts';
import { archiveOf, type TreeObjects } from '../tree-archive.ts';

const MAX_PIECE_BYTES = 1024 * 1024;

class MemoryFetcher implements ObjectFetcher {
  readonly codec = createCodec(undefined);
  readonly #objects: TreeObjects;

  constructor(objects: TreeObjects) {
    this.#objects = objects;
  }

  get(id: ObjectId): StoredObject {
    const object = this.#objects.objects.get(Buffer.from(id).toString('hex'));
    if (object === undefined) throw new HoldfastError('object-missing', `object ${id.toString('hex')} is missing`);
    return object;
  }

  fetch(ids: readonly Uint8Array[], deliver: (place: number, record: Uint8Array | undefined) => void): void {
    for (const place of ids.keys()) deliver(place, undefined);
  }
}

/** Two threads that take turns in this one; what they are sent is cloned as between real ones. */
function memoryPool(objects: TreeObjects): WorkerPool {
  const arena = new Arena(65536 + PieceRestorer.outputBytes(MAX_PIECE_BYTES) + 8192);
  const restorer = new PieceRestorer(arena.bytes, arena.allocate(PieceRestorer.outputBytes(MAX_PIECE_BYTES)));
  const handlers = new TreeRestoreThread(restorer, () => new MemoryFetcher(objects)).handlers();
  const call = async (_thread: number, method: string, argument: unknown): Promise<unknown> => {
    await new Promise((resolve) => setImmediate(resolve));
    return structuredClone(await handlers[method]!(structuredClone(argument) as never));
  };
  return { size: 2, call } as unknown as WorkerPool;
}

export async function restoreFromMemory(
  objects: TreeObjects,
  root: ObjectId,
  target: string,
  rules: Partial<RestoreRules> = {},
  signal: AbortSignal = new AbortController().signal,
): Promise<RestoreNotes> {
  const all: RestoreRules = { existing: 'refuse', devices: false, zeroLost: false, ...rules };
  const request = { archive: archiveOf(objects, root), space: 0, target, rules: all, selection: undefined, signal };
  return await runRestoreTree({ ...request, onProgress: () => {} }, memoryPool(objects), objects.get);
}
