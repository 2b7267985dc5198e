// A disk that is really full while a file tree goes in or comes out: a clear error, no snapshot, nothing under a name that is not whole.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { errorOf, holdfast, jsonOf, skipWithoutBuild } from '../support/crash/cli.ts';
import { skipSmallDisk, withSmallDisk } from '../support/small-disk.ts';

const MIB = 1 << 20;
const LARGE_BYTES = 20 * MIB;

suite('file trees and a full disk', { skip: skipWithoutBuild() || skipSmallDisk() }, () => {
  const withTree = async (work: (folder: string, tree: string) => Promise<void>): Promise<void> => {
    const folder = mkdtempSync(join(tmpdir(), 'hf-tree-full-'));
    try {
      const tree = join(folder, 'tree');
      mkdirSync(tree);
      for (let n = 0; n < 50; n++) writeFileSync(join(tree, `small-${n}`), randomBytes(5000));
      writeFileSync(join(tree, 'large'), randomBytes(LARGE_BYTES));
      await work(folder, tree);
    } finally {
      rmSync(folder, { recursive: true });
    }
  };
  const backup = (tree: string): string[] => ['backup', '--group', 'host/a', `root.tree:${tree}`, '--workers', '2'];
  const restore = (target: string, ...more: string[]): string[] => [
    ...['restore', 'host/a/latest', 'root.tree', target],
    ...more,
  ];
  const requireEqual = (tree: string, target: string): void => {
    assert.deepEqual(readdirSync(target).sort(), readdirSync(tree).sort());
    for (const name of readdirSync(tree))
      assert.ok(readFileSync(join(target, name)).equals(readFileSync(join(tree, name))), name);
  };

  test('a restore ends, what has a name of its own is whole, and `--existing changed` completes it', async () => {
    await withTree(async (folder, tree) => {
      const root = join(folder, 'store');
      jsonOf(await holdfast(root, ['datastore', 'create']));
      jsonOf(await holdfast(root, backup(tree)));
      await withSmallDisk(64 * MIB, async (disk) => {
        const target = join(disk.mountPath, 'target');
        disk.fill(8 * MIB);
        const full = await holdfast(root, restore(target));
        assert.equal(errorOf(full).code, 'target-failed', full.stderr);
        assert.match(errorOf(full).message, /large/);
        for (const name of readdirSync(target)) {
          assert.ok(!name.startsWith('.holdfast-partial-'), name);
          assert.notEqual(name, 'large');
          assert.equal(statSync(join(target, name)).size, 5000, name);
        }
        disk.release();
        jsonOf(await holdfast(root, restore(target, '--existing', 'changed')));
        requireEqual(tree, target);
      });
    });
  });

  test('a backup ends without a snapshot, and is made when there is room', async () => {
    await withTree(async (folder, tree) => {
      await withSmallDisk(96 * MIB, async (disk) => {
        const root = join(disk.mountPath, 'store');
        jsonOf(await holdfast(root, ['datastore', 'create']));
        disk.fill(10 * MIB);
        const full = await holdfast(root, backup(tree));
        assert.equal(errorOf(full).code, 'disk-full', full.stderr);
        assert.equal(full.status, 28);
        assert.deepEqual(jsonOf(await holdfast(root, ['snapshot', 'list'])), []);
        disk.release();
        jsonOf(await holdfast(root, backup(tree)));
        jsonOf(await holdfast(root, restore(join(folder, 'out'))));
        requireEqual(tree, join(folder, 'out'));
        jsonOf(await holdfast(root, ['datastore', 'verify']));
      });
    });
  });
});
