// Backs up real directories into a real store with real threads, and reads archives back without the code that restores them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { runBackup } from '../../../../src/agent/backup/run-backup.ts';
import { DEFAULT_TREE_OPTIONS, type TreeOptions } from '../../../../src/agent/tree/backup/backup-tree.ts';
import { filePieces, inlineContent } from '../../../../src/agent/tree/file-content.ts';
import { directoryOf, type GetObject, readEntries, readRoot } from '../../../../src/agent/tree/read-tree.ts';
import { Content, type DirectoryEntry } from '../../../../src/chunker/directory.ts';
import { type ObjectId, parseId, type StoredObject } from '../../../../src/chunker/object.ts';
import type { Archive } from '../../../../src/schema/manifest.ts';
import { type ByteString, below, EMPTY } from '../../../../src/util/byte-string.ts';
import { createTemporaryStore, OpenStore } from '../../../support/store.ts';

export interface BackedUp {
  readonly archive: Archive;
  readonly bytesRead: number;
  readonly bytesNew: number;
  readonly objectsNew: number;
  readonly warnings: readonly string[];
}

export class TreeRig {
  readonly open: OpenStore;
  /** A directory to be backed up. */
  readonly source: string;

  /** Mount points to be unmounted in the end. */
  readonly mounts: string[];

  private constructor(open: OpenStore, source: string, mounts: string[]) {
    this.mounts = mounts;
    this.open = open;
    this.source = source;
  }

  static async start(t: TestContext, threads = 2): Promise<TreeRig> {
    const store = await createTemporaryStore();
    const open = await OpenStore.open(store.root, threads);
    const mounts: string[] = [];
    const source = mkdtempSync(join(tmpdir(), 'holdfast-tree-'));
    t.after(async () => {
      await open.close();
      await store.remove();
      for (const mount of mounts.reverse()) execFileSync('umount', [mount]);
      // Deeper than any path that Node takes.
      execFileSync('rm', ['-rf', source]);
    });
    return new TreeRig(open, source, mounts);
  }

  async backup(options: Partial<TreeOptions> = {}, path = this.source, signal?: AbortSignal): Promise<BackedUp> {
    const warnings: string[] = [];
    const { committed, statistics } = await runBackup(
      {
        group: 'host/rig',
        archives: [{ name: 'root.tree', kind: 'tree', path }],
        changeMap: undefined,
        tree: { ...DEFAULT_TREE_OPTIONS, ...options },
        time: undefined,
        averageBytes: 65536,
        key: undefined,
        stdin: Readable.from([]),
        signal: signal ?? new AbortController().signal,
        onProgress: () => {},
        warn: (message) => void warnings.push(message),
      },
      this.open.pool,
      () => this.open.session('host/rig'),
    );
    const archive = committed.manifest.client.archives[0] as Archive;
    const { bytesRead, bytesNew, objectsNew } = statistics;
    return { archive, bytesRead, bytesNew, objectsNew, warnings };
  }

  readonly get: GetObject = (id) => this.open.pool.call<StoredObject>(0, 'store.read', { space: 0, id });

  /** Every entry of an archive by its path; the top is the empty path. */
  async entries(archive: Archive): Promise<Map<ByteString, DirectoryEntry>> {
    const found = new Map<ByteString, DirectoryEntry>();
    const walk = async (path: ByteString, entry: DirectoryEntry): Promise<void> => {
      found.set(path, entry);
      if (entry.content !== Content.directory) return;
      for await (const child of readEntries(this.get, directoryOf(entry))) await walk(below(path, child.name), child);
    };
    await walk(EMPTY, await readRoot(this.get, parseId(archive.root) as ObjectId));
    return found;
  }

  /** What a file of an archive holds, holes as zeros. */
  async content(entry: DirectoryEntry): Promise<Buffer> {
    const inline = inlineContent(entry);
    if (inline !== undefined) return Buffer.from(inline);
    const parts: Uint8Array[] = [];
    for await (const { length, id } of filePieces(this.get, entry)) {
      const bytes = id === undefined ? Buffer.alloc(length) : (await this.get(Buffer.from(id) as ObjectId)).payload;
      assert.equal(bytes.length, length);
      parts.push(bytes);
    }
    return Buffer.concat(parts);
  }
}

/** The entry of a path that must be there. */
export function entryAt(entries: ReadonlyMap<ByteString, DirectoryEntry>, path: string): DirectoryEntry {
  const entry = entries.get(path as ByteString);
  assert.ok(entry !== undefined, `${path} is in the archive`);
  return entry;
}
