// Garbage collection on a disk that is really full: dead packs go before anything is written, and what then needs room gets it.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { GcReport } from '../../src/datastore/gc/gc-operation.ts';
import { type BackupSummary, errorOf, holdfast, jsonOf, skipWithoutBuild } from '../support/crash/cli.ts';
import { type Image, writeVersions } from '../support/crash/images.ts';
import { type Archives, Verifier } from '../support/crash/verifier.ts';
import { skipSmallDisk, withSmallDisk } from '../support/small-disk.ts';

const MIB = 1 << 20;
const DISK = 'disk0.img';

suite('garbage collection on a full disk', { skip: skipWithoutBuild() || skipSmallDisk() }, () => {
  let folder: string;
  let images: Image[];
  let verifier: Verifier;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'hf-gc-full-'));
    images = writeVersions(folder, 'disk', { sizeBytes: 20 * MIB, versions: 2, seed: 7, share: 0.25 });
    verifier = new Verifier();
  });
  after(async () => {
    await verifier.close();
    rmSync(folder, { recursive: true });
  });

  const archives = (version: number): Archives => ({ [DISK]: images[version - 1]!.path });
  const backup = async (root: string, group: string, version: number): Promise<string> => {
    const args = ['backup', '--group', group, `${DISK}:${images[version - 1]!.path}`, '--workers', '2'];
    return jsonOf<BackupSummary>(await holdfast(root, args)).snapshot;
  };

  test('a snapshot that nothing shares is freed with no byte left', async () => {
    await withSmallDisk(96 * MIB, async (disk) => {
      const root = join(disk.mountPath, 'store');
      jsonOf(await holdfast(root, ['datastore', 'create']));
      const gone = await backup(root, 'vm/1', 1);
      jsonOf(await holdfast(root, ['snapshot', 'forget', gone]));
      disk.fill(0);
      const freed = jsonOf<GcReport>(await holdfast(root, ['datastore', 'gc', '--workers', '2']));
      assert.ok(freed.bytesFreed > MIB && freed.packsDropped > 0, JSON.stringify(freed));
      disk.release();
      const kept = await backup(root, 'vm/1', 2);
      await verifier.check(root, { present: new Map([[kept, archives(2)]]) });
    });
  });

  test('what has to be copied first says that there is no room, loses nothing, and is done when there is', async () => {
    await withSmallDisk(96 * MIB, async (disk) => {
      const root = join(disk.mountPath, 'store');
      jsonOf(await holdfast(root, ['datastore', 'create']));
      const gone = await backup(root, 'vm/1', 1);
      const kept = await backup(root, 'vm/1', 2);
      jsonOf(await holdfast(root, ['snapshot', 'forget', gone]));
      disk.fill(0);
      const full = await holdfast(root, ['datastore', 'gc', '--workers', '2']);
      assert.equal(full.status, 28, `${full.stderr}${full.stdout}`);
      assert.equal(errorOf(full).code, 'disk-full');
      await verifier.check(root, { present: new Map([[kept, archives(2)]]) });
      disk.release();
      const report = jsonOf<GcReport>(await holdfast(root, ['datastore', 'gc', '--workers', '2', '--audit']));
      assert.ok(report.packsRewritten > 0 && report.objectsLost === 0, JSON.stringify(report));
      await verifier.check(root, { present: new Map([[kept, archives(2)]]) });
    });
  });
});
