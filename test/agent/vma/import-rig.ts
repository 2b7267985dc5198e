// An import in this process: the agent's thread with its real cutter, a session that keeps objects in memory, and disks that are mostly holes.
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { AgentThread } from '../../../src/agent/agent-thread.ts';
import { backupImage } from '../../../src/agent/backup/image-backup.ts';
import type { Base, Committed, Session } from '../../../src/agent/backup/session.ts';
import { openFileSource } from '../../../src/agent/sources/file-source.ts';
import { type ImportRequest, importVma } from '../../../src/agent/vma/import-vma.ts';
import { parseList } from '../../../src/chunker/list.ts';
import type { ObjectId } from '../../../src/chunker/object.ts';
import type { Archive, ClientPart, Manifest } from '../../../src/schema/manifest.ts';
import { Arena } from '../../../src/util/arena.ts';
import type { Handlers, WorkerPool } from '../../../src/util/worker-pool.ts';
import { NO_SIGNAL } from '../../support/store.ts';
import type { WrittenDisk } from '../../support/vma-writer.ts';
import { MemorySink } from '../backup/memory-sink.ts';

const BLOCK = 4096;
const AVERAGE_BYTES = 64 * 1024;

export interface SparseDisk extends WrittenDisk {
  /** Block number, and a number that its content is made of. */
  readonly blocks: ReadonlyMap<number, number>;
}

/** A disk of which only some blocks are not zeros. */
export function sparseDisk(
  id: number,
  name: string,
  sizeBytes: number,
  blocks: ReadonlyMap<number, number>,
): SparseDisk {
  const read = (offset: number, length: number): Buffer | undefined => {
    const seed = blocks.get(offset / BLOCK);
    return seed === undefined ? undefined : blockOf(seed).subarray(0, length);
  };
  return { id, name, sizeBytes, blocks, read };
}

/** Not zeros, and not alike throughout. */
function blockOf(seed: number): Buffer {
  return Buffer.alloc(BLOCK, Buffer.from([seed, 1, seed >> 8, 7, seed & 31]));
}

export class ImportRig {
  readonly sink: MemorySink;
  readonly warnings: string[] = [];
  readonly steps: string[] = [];
  readonly bases: Base[] = [];
  /** Takes a raw disk and what is put aside. */
  readonly directory: string;
  client: ClientPart | undefined;
  readonly #pool: WorkerPool;

  constructor(directory: string) {
    this.directory = directory;
    const arena = new Arena(65_536 + AgentThread.arenaBytes);
    this.sink = new MemorySink(arena.bytes);
    const objects = { sink: () => this.sink, fetcher: () => ({}) as never };
    const handlers: Handlers = new AgentThread(objects, arena).handlers();
    let turn: Promise<unknown> = Promise.resolve();
    const call = (_: number, method: string, argument: unknown): Promise<unknown> => {
      const result = turn.then(async () => await handlers[method]?.(argument as never));
      turn = result.catch(() => undefined);
      return result;
    };
    const all = async (method: string, argument: unknown) => [await call(0, method, argument)];
    this.#pool = { size: 2, call, all } as unknown as WorkerPool;
  }

  /** Imports from bytes, or a stream of them; its archives. */
  async run(archive: Buffer | Readable, change: Partial<ImportRequest> = {}): Promise<readonly Archive[]> {
    const request: ImportRequest = {
      source: archive instanceof Readable ? archive : Readable.from(portions(archive), { objectMode: false }),
      group: 'vm/101',
      time: 1_769_824_800,
      isLocalTime: false,
      key: undefined,
      averageBytes: AVERAGE_BYTES,
      spillDirectory: this.directory,
      signal: NO_SIGNAL,
      onProgress: () => {},
      warn: (message) => void this.warnings.push(message),
      ...change,
    };
    await importVma(request, this.#pool, async () => this.#session());
    return (this.client as ClientPart).archives;
  }

  /** The root that a backup of the raw disk has. */
  async rawRoot(disk: SparseDisk): Promise<string> {
    const path = join(this.directory, 'raw');
    const file = openSync(path, 'w');
    for (const [block, seed] of disk.blocks) {
      const offset = block * BLOCK;
      writeSync(file, blockOf(seed), 0, Math.min(BLOCK, disk.sizeBytes - offset), offset);
    }
    ftruncateSync(file, disk.sizeBytes);
    closeSync(file);
    const { archive } = await backupImage(this.#pool, this.#session(), {
      name: 'raw.img',
      source: await openFileSource(path),
      averageBytes: AVERAGE_BYTES,
      cutSeed: undefined,
      incremental: undefined,
      onProgress: () => {},
      signal: NO_SIGNAL,
    });
    return archive.root;
  }

  /** The bytes of an image of one list, or of a blob. */
  contentOf({ root, kind }: Archive): Buffer {
    const { payload, refs } = this.sink.get(Buffer.from(root, 'hex') as unknown as ObjectId);
    if (kind === 'blob') return Buffer.from(payload);
    return Buffer.concat(parseList(payload, refs).entries.map(({ length, id }) => this.sink.pageBytes(id, length)));
  }

  #session(): Session {
    return {
      id: '00'.repeat(16),
      bases: this.bases,
      adoptedObjects: 0,
      put: async (kind, refs, payload) => this.sink.put(kind, refs, payload),
      get: async (id) => this.sink.get(id),
      counters: async () => ({ objectsNew: 0, objectsReused: 0, bytesNew: 0, bytesStored: 0 }),
      commit: async (client): Promise<Committed> => {
        this.steps.push('commit');
        this.client = client;
        // Nothing to be read back: that is another part's work.
        const manifest = { client: { ...client, archives: [] }, server: { space: 0, time: 0 } } as unknown as Manifest;
        return { name: { group: 'vm/101', time: 0 }, manifest, bytesStored: 0, warnings: [] };
      },
      suspend: async () => void this.steps.push('suspend'),
    };
  }
}

function* portions(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000);
}

/** A generator of numbers below a bound that a seed repeats (mulberry32). */
export function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** The order that a seed gives. */
export function shuffled<Item>(items: readonly Item[], seed: number): Item[] {
  const order = [...items];
  const pick = random(seed);
  for (let last = order.length - 1; last > 0; last--) {
    const other = pick(last + 1);
    [order[last], order[other]] = [order[other] as Item, order[last] as Item];
  }
  return order;
}
