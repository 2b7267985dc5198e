// Archives that are damaged, hostile or cut off: each is refused with where and what, and becomes no snapshot.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldfastError } from '../../../src/util/errors.ts';
import { ascending, type Cluster, sealVma, vmaBytes, type Writing } from '../../support/vma-writer.ts';
import { scratch } from '../nbd/servers.ts';
import { ImportRig, random, shuffled, sparseDisk } from './import-rig.ts';

const MiB = 1024 * 1024;
const BLOCKS = new Map([
  [0, 1],
  [1, 2],
  [600, 3],
  [1280, 9],
]);
/** 81 clusters, in two extents; of the last 100 bytes. */
const disk = sparseDisk(3, 'drive-scsi0', 5 * MiB + 100, BLOCKS);
const all: readonly Cluster[] = [...ascending([disk])];
const good: Writing = { disks: [disk], configs: [{ name: 'qemu-server.conf', content: Buffer.from('x') }] };
/** Of device 3 in the header. */
const NAME_AT = 4096 + 3 * 32;

const header = (spoilHeader: (bytes: Buffer) => void): Writing => ({ ...good, spoilHeader });
/** Of the second extent. */
const extent = (spoil: (bytes: Buffer) => void): Writing => ({
  ...good,
  spoilExtent: (bytes, place) => (place === 1 ? spoil(bytes) : undefined),
});
const order = (clusters: readonly Cluster[]): Writing => ({ ...good, order: clusters });
const flip = (at: number) => (bytes: Buffer) => {
  bytes[at] = (bytes[at] as number) ^ 1;
};
/** Marks block 2 of the partial last cluster, in slot 22, as stored. */
const addBlock = (bytes: Buffer): void => {
  bytes.writeUInt16BE(bytes.readUInt16BE(40 + 22 * 8) | 2, 40 + 22 * 8);
  bytes.writeUInt16BE(bytes.readUInt16BE(6) + 1, 6);
};

const DAMAGES: readonly (readonly [Writing | Buffer, RegExp])[] = [
  [order([...all, all[4] as Cluster]), /at byte \d+, cluster 4 of device 3 \(drive-scsi0\) comes a second/],
  [order([...all, { disk, cluster: 81 }]), /byte \d+, cluster 81 of device 3 .* behind the end/],
  [order([{ disk, cluster: 2 ** 32 - 1 }, ...all]), /cluster 4294967295 .* behind/],
  [order(all.filter(({ cluster }) => cluster !== 37)), /1 of 81 clusters of device 3 \(.* first at its byte 2424832/],
  [order([]), /81 of 81 clusters of device 3/],
  [order([{ disk: { ...disk, id: 9 }, cluster: 0 }, ...all]), /device 9, which the header does not have/],
  [extent((bytes) => bytes.fill(1, 8, 24)), /at byte \d+, an extent has the UUID of another/],
  [extent((bytes) => bytes.writeUInt16BE(bytes.readUInt16BE(6) + 1, 6)), /claims \d+ blocks/],
  [extent((bytes) => bytes.writeUInt16BE(1, 40 + 58 * 8)), /slot 58 .* no device/],
  [extent(addBlock), /cluster 80 of device 3 .* blocks behind the end/],
  [{ ...good, breakExtent: flip(45) }, /at byte 12800, the MD5 of an extent is wrong/],
  [{ ...good, breakExtent: flip(3) }, /at byte 12800, there is no extent/],
  [{ ...good, breakHeader: flip(4200) }, /MD5 of the header is wrong/],
  [header((bytes) => bytes.writeUInt32BE(2, 4)), /says version 2/],
  [header((bytes) => bytes.writeUInt32BE(0xfffffe00, 56)), /claims 4294966784 bytes/],
  [header((bytes) => bytes.writeUInt32BE(4096, 52)), /names lie at 12288 with 4096/],
  [header((bytes) => bytes.writeUInt32BE(500, NAME_AT)), /leads to 500/],
  [header((bytes) => bytes.writeUInt32BE(0, NAME_AT)), /device 3 has no name/],
  [header((bytes) => bytes.fill(0, NAME_AT + 8, NAME_AT + 16)), /device 3 has no size/],
  [header((bytes) => bytes.fill(255, NAME_AT + 8, NAME_AT + 16)), /device 3 claims 18446744073709551615/],
  [header((bytes) => bytes.fill(0, 3068, 3072)), /file 0 has no content/],
  [{ ...good, disks: [{ ...disk, name: '../x' }] }, /device 3 would be archive "..\/x.img"/],
  [{ ...good, disks: [{ ...disk, name: 'a\0b' }] }, /does not end with a zero/],
  [{ ...good, disks: [disk, { ...disk, id: 4 }] }, /device 4 .* twice/],
  [{ ...good, configs: [{ name: 'x.img', content: Buffer.from('x') }] }, /not that of a small file/],
  [Buffer.alloc(20_000, 'tar'), /does not begin as one/],
  [Buffer.alloc(0), /ends in the middle of its header/],
];

test('each damage is named with its place, and leaves no snapshot', async (t) => {
  const rig = new ImportRig(scratch(t));
  for (const [writing, message] of DAMAGES) {
    const bytes = Buffer.isBuffer(writing) ? writing : vmaBytes(writing);
    await assert.rejects(rig.run(bytes), (error) => {
      assert.ok(error instanceof HoldfastError, `${message}: ${(error as Error).stack}`);
      assert.equal(error.code, 'source-failed', error.message);
      assert.match(error.message, message);
      assert.equal(typeof error.data.offset, 'number', error.message);
      return true;
    });
  }
  const huge = header((bytes) => bytes.writeBigUInt64BE(2n ** 50n, NAME_AT + 8));
  await assert.rejects(rig.run(vmaBytes(huge)), { code: 'too-large' });
  assert.ok(!rig.steps.includes('commit'));
  assert.ok(rig.steps.includes('suspend'), 'a session that was opened is ended');
});

test('an archive that is cut off anywhere is refused', async (t) => {
  const rig = new ImportRig(scratch(t));
  const bytes = vmaBytes({ ...good, clustersPerExtent: 20 });
  const boundaries = [...Array(bytes.length / 512).keys()].map((at) => at * 512);
  for (const length of [3, 5000, 12_290, 12_801, bytes.length - 1, ...shuffled(boundaries, 1).slice(0, 25)])
    await assert.rejects(rig.run(bytes.subarray(0, length)), { code: 'source-failed' }, `${length} bytes`);
  assert.ok(!rig.steps.includes('commit'));
  await rig.run(bytes);
});

/** Flips, copies and cuts, mostly where it is not content; often makes the MD5 of what was changed good again. */
function mutate(archive: Buffer, pick: (below: number) => number): Buffer {
  const bytes = Buffer.from(archive);
  const heads = [0];
  for (let at = 12_800; at < bytes.length; at += 512 + bytes.readUInt16BE(at + 6) * 4096) heads.push(at);
  for (let times = 1 + pick(3); times > 0; times--) {
    const head = heads[pick(heads.length)] as number;
    const places =
      head === 0 ? [pick(64), 2044 + pick(8), 3068 + pick(8), NAME_AT + pick(40), 12_288 + pick(64)] : [pick(512)];
    const at = head + (places[pick(places.length)] as number);
    const kind = pick(4);
    if (kind === 0) bytes[at] = pick(256);
    else if (kind === 1) flip(at)(bytes);
    else if (kind === 2) bytes.fill(pick(2) * 255, at, at + 1 + pick(8));
    else bytes.copyWithin(at, heads[pick(heads.length)] as number, at + 8);
    if (pick(4) === 0) continue;
    if (head === 0) sealVma(bytes.subarray(0, 12_800), 32);
    else sealVma(bytes.subarray(head, head + 512), 24);
  }
  return pick(8) === 0 ? bytes.subarray(0, pick(bytes.length)) : bytes;
}

test('mutated archives are taken or refused, and do nothing else', async (t) => {
  const rig = new ImportRig(scratch(t));
  const archive = vmaBytes({ ...good, clustersPerExtent: 20 });
  let refused = 0;
  const before = process.memoryUsage();
  for (let seed = 1; seed <= 250; seed++) {
    try {
      await rig.run(mutate(archive, random(seed)));
    } catch (error) {
      if (!(error instanceof HoldfastError))
        throw new Error(`seed ${seed}: ${(error as Error).stack}`, { cause: error });
      refused++;
    }
    rig.sink.objects.clear();
  }
  assert.ok(refused > 100 && refused < 240, `${refused} refused`);
  const after = process.memoryUsage();
  // Pages of shared memory count as array buffers, and wait for the collector.
  assert.ok(after.heapUsed - before.heapUsed < 64 * MiB, `the heap grew by ${after.heapUsed - before.heapUsed}`);
});
