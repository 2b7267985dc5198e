// Restores archives in tests: a real store with real threads, a target directory that goes with the test.
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RestoreNotes } from '../../../../src/agent/tree/restore/restore-notes.ts';
import type { RestoreRules } from '../../../../src/agent/tree/restore/restore-rules.ts';
import { runRestoreTree } from '../../../../src/agent/tree/restore/restore-tree.ts';
import { Selection } from '../../../../src/agent/tree/restore/selection.ts';
import type { DirectoryEntry } from '../../../../src/chunker/directory.ts';
import type { Archive } from '../../../../src/schema/manifest.ts';
import { fromText } from '../../../../src/util/byte-string.ts';
import { createTemporaryStore, OpenStore } from '../../../support/store.ts';
import { commitTree, TreeObjects } from '../tree-archive.ts';

export interface RestoreOptions extends Partial<RestoreRules> {
  readonly paths?: readonly string[];
  readonly patterns?: readonly string[];
  readonly signal?: AbortSignal;
  readonly onProgress?: () => void;
}

export class RestoreRig {
  readonly directory = mkdtempSync(join(tmpdir(), 'hft-tree-'));
  readonly open: OpenStore;
  readonly #remove: () => Promise<void>;

  private constructor(open: OpenStore, remove: () => Promise<void>) {
    this.open = open;
    this.#remove = remove;
  }

  static async start(): Promise<RestoreRig> {
    const { root, remove } = await createTemporaryStore();
    return new RestoreRig(await OpenStore.open(root), remove);
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** Stores what `build` makes. */
  async store(build: (objects: TreeObjects) => DirectoryEntry): Promise<Archive> {
    const objects = new TreeObjects();
    const root = objects.root(build(objects));
    return await commitTree(this.open, objects, root);
  }

  async restore(archive: Archive, target: string, options: RestoreOptions = {}): Promise<RestoreNotes> {
    const { paths, patterns } = options;
    const rules = {
      existing: options.existing ?? 'refuse',
      devices: options.devices ?? false,
      zeroLost: options.zeroLost ?? false,
    };
    const selected = paths !== undefined || patterns !== undefined;
    const request = {
      ...{ archive, space: 0, target, rules },
      selection: selected ? new Selection((paths ?? []).map(fromText), (patterns ?? []).map(fromText)) : undefined,
      signal: options.signal ?? new AbortController().signal,
      onProgress: options.onProgress ?? (() => {}),
    };
    const { pool } = this.open;
    return await runRestoreTree(request, pool, (id) => pool.call(0, 'store.read', { space: 0, id }));
  }

  async close(): Promise<void> {
    await this.open.close();
    await this.#remove();
    // Node's own cannot remove paths that are longer than the system takes.
    execFileSync('rm', ['-rf', this.directory]);
  }
}
