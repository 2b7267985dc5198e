// Archives of virtual machines taken in: what a good one becomes, whatever the order of its clusters.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import type { Archive } from '../../../src/schema/manifest.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { ascending, diskOf, vmaBytes, type WrittenDisk } from '../../support/vma-writer.ts';
import { scratch } from '../nbd/servers.ts';
import { ImportRig, type SparseDisk, shuffled, sparseDisk } from './import-rig.ts';

const MiB = 1024 * 1024;
const PAGE = 16 * MiB;

test('the golden archive lies as the format says, and is read so', async (t) => {
  const path = new URL('../../vectors/vzdump.vma.zst', import.meta.url);
  const bytes = execFileSync('zstd', ['-dcq', fileURLToPath(path)]);
  // Made from the layout by another program than our writer: these are the places.
  assert.equal(bytes.length, 108_032);
  assert.equal(bytes.toString('latin1', 0, 4), 'VMA\0');
  assert.deepEqual([bytes.readUInt32BE(48), bytes.readUInt32BE(52), bytes.readUInt32BE(56)], [12_288, 172, 12_800]);
  assert.deepEqual([bytes.readUInt32BE(2044), bytes.readUInt32BE(3068), bytes.readUInt32BE(2048)], [1, 20, 102]);
  assert.deepEqual([bytes.readUInt32BE(4128), bytes.readBigUInt64BE(4136)], [141, 540_672n]);
  assert.deepEqual([bytes.readUInt32BE(4160), bytes.readBigUInt64BE(4168)], [158, 204_900n]);
  assert.equal(bytes.readUInt16LE(12_288 + 158), 'drive-scsi0\0'.length);
  assert.equal(bytes.toString('latin1', 12_800, 12_804), 'VMAE');
  assert.equal(bytes.readUInt16BE(12_806), 21);
  assert.equal(bytes.readBigUInt64BE(12_840), 0x8003_0001_0000_0000n);
  assert.equal(bytes.toString('latin1', 12_800 + 86_528, 12_800 + 86_532), 'VMAE');

  const contentOf = (device: number, sizeBytes: number, blocks: readonly number[]): Buffer => {
    const content = Buffer.alloc(sizeBytes);
    for (const block of blocks)
      content.fill(((device * 64 + block) % 251) + 1, block * 4096, Math.min(sizeBytes, (block + 1) * 4096));
    return content;
  };
  const efi = contentOf(1, 540_672, [0, 1, 15, 131]);
  const scsi = contentOf(2, 204_900, [...Array(16).keys(), 37, 48, 50]);
  const rig = new ImportRig(scratch(t));
  const archives = await rig.run(bytes);
  assert.deepEqual(
    archives.map(({ name, kind, sizeBytes }) => [name, kind, sizeBytes]),
    [
      ['drive-efidisk0.img', 'image', 540_672],
      ['drive-scsi0.img', 'image', 204_900],
      ['qemu-server.conf', 'blob', 80],
      ['qemu-server.fw', 'blob', 20],
    ],
  );
  const [gotEfi, gotScsi, conf, fw] = archives.map((archive) => rig.contentOf(archive)) as [
    Buffer,
    Buffer,
    Buffer,
    Buffer,
  ];
  assert.ok(gotEfi.equals(efi));
  assert.ok(gotScsi.equals(scsi));
  assert.match(conf.toString(), /^memory: 512\nscsi0: .*\n#qmdump#map:scsi0:drive-scsi0:local:raw:\n$/);
  assert.equal(fw.toString(), '[OPTIONS]\nenable: 1\n');
  assert.deepEqual([rig.warnings, rig.steps], [[], ['commit']]);

  // The writer of the other tests is held against the same bytes.
  const disks = [diskOf(1, 'drive-efidisk0', efi), diskOf(2, 'drive-scsi0', scsi)];
  const order = '10 23 11 20 12 13 14 18 17 16 15 21 22'
    .split(' ')
    .map((word) => ({ disk: disks[Number(word[0]) - 1] as WrittenDisk, cluster: Number(word[1]) }));
  const configs = [
    { name: 'qemu-server.conf', content: conf },
    { name: 'qemu-server.fw', content: fw },
  ];
  const uuid = Buffer.from(Array.from({ length: 16 }, (_, place) => 0x10 + place));
  assert.ok(vmaBytes({ disks, configs, order, uuid, time: 1_769_824_803, clustersPerExtent: 7 }).equals(bytes));
});

const ONE = 2 ** 20;

/** Of some pages, or of so many that they cannot all be open; blocks lie anywhere. */
const manyDisks = fc
  .array(
    fc.record({
      sizeBytes: fc.oneof(
        fc.integer({ min: 1, max: 2 * PAGE }),
        fc.integer({ min: 9, max: 14 }).map((pages) => pages * PAGE + 5),
      ),
      places: fc.array(fc.tuple(fc.integer({ min: 0, max: ONE }), fc.integer({ min: 1, max: 65_535 })), {
        minLength: 5,
        maxLength: 60,
      }),
    }),
    { minLength: 1, maxLength: 3 },
  )
  .map((all) =>
    all.map(({ sizeBytes, places }, at) => {
      const last = Math.ceil(sizeBytes / 4096) - 1;
      const blocks = places.map(([share, seed]): [number, number] => [Math.floor((share / ONE) * last), seed]);
      return sparseDisk(at * 100 + 1, `drive-scsi${at}`, sizeBytes, new Map(blocks));
    }),
  );

test('any disks in any order become the images that a backup of the raw disks makes', async (t) => {
  const rig = new ImportRig(scratch(t));
  await fc.assert(
    fc.asyncProperty(manyDisks, fc.nat(), fc.integer({ min: 1, max: 59 }), async (disks, seed, clustersPerExtent) => {
      const order = seed % 3 === 0 ? ascending(disks) : shuffled([...ascending(disks)], seed);
      const archives = await rig.run(vmaBytes({ disks, order, clustersPerExtent }));
      for (const [place, disk] of disks.entries())
        assert.equal(archives[place]?.root, await rig.rawRoot(disk), `disk ${place}`);
    }),
    // To look for a smaller case of one that failed would take minutes.
    { numRuns: 12, seed: 7, endOnFailure: true },
  );
  assert.deepEqual(readdirSync(rig.directory), ['raw'], 'what was put aside is gone');
});

test('255 devices, interleaved', async (t) => {
  const rig = new ImportRig(scratch(t));
  const disks = Array.from({ length: 255 }, (_, at) =>
    sparseDisk(at + 1, `drive-scsi${at}`, 70_000 + at * 512, new Map([[at % 17, at + 1]])),
  );
  const archives = await rig.run(vmaBytes({ disks, order: shuffled([...ascending(disks)], 3) }));
  assert.equal(archives.length, 255);
  for (const at of [0, 16, 127, 254])
    assert.equal((archives[at] as Archive).root, await rig.rawRoot(disks[at] as SparseDisk), `${at}`);
});

test('the memory of a guest is left out with a warning, whole or not, and a doubtful time zone is told', async (t) => {
  const rig = new ImportRig(scratch(t));
  const disk = sparseDisk(1, 'drive-scsi0', MiB, new Map([[3, 5]]));
  const blocks = new Map([
    [0, 1],
    [700, 2],
  ]);
  const memory = sparseDisk(2, 'vmstate', 4 * MiB, blocks);
  const order = [...ascending([memory, disk])].slice(3);
  const bytes = vmaBytes({ disks: [disk, memory], order, time: 1_769_824_800 - 3600 });
  const archives = await rig.run(bytes, { isLocalTime: true });
  assert.deepEqual(
    archives.map(({ name }) => name),
    ['drive-scsi0.img'],
  );
  assert.equal(archives[0]?.root, await rig.rawRoot(disk));
  assert.equal(rig.warnings.length, 2);
  assert.match(rig.warnings[0] as string, /2026-01-31T02:00:00Z .* 2026-01-31T01:00:00Z; .* TZ/);
  assert.match(rig.warnings[1] as string, /vmstate.* left out/);
});

test('an archive that is not younger than the group is refused before it is read', async (t) => {
  const rig = new ImportRig(scratch(t));
  rig.bases.push({ manifest: { server: { time: 1_769_824_800 } } } as never);
  const bytes = vmaBytes({ disks: [sparseDisk(1, 'drive-scsi0', MiB, new Map([[3, 5]]))] });
  await assert.rejects(rig.run(bytes), { code: 'exists', message: /2026-01-31T02:00:00Z.*--ns/ });
  assert.equal(rig.sink.objects.size, 0);
});

test('an abort ends an import whose source is silent, and a source that fails says why', async (t) => {
  const rig = new ImportRig(scratch(t));
  const start = vmaBytes({ disks: [sparseDisk(1, 'drive-scsi0', MiB, new Map([[3, 5]]))] }).subarray(0, 13_500);
  const silent = new Readable({ read() {} });
  silent.push(start);
  const interrupt = new AbortController();
  setTimeout(() => interrupt.abort(new HoldfastError('aborted', 'stopped')), 30);
  await assert.rejects(rig.run(silent, { signal: interrupt.signal }), { code: 'aborted' });
  const failing = new Readable({ read() {} });
  failing.push(start);
  setTimeout(() => failing.destroy(new Error('the cable')), 30);
  await assert.rejects(rig.run(failing), { code: 'source-failed', message: /the cable/ });
  assert.deepEqual(rig.steps, ['suspend', 'suspend']);
});
