import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { comparePiece, type SampleWork } from '../../../src/agent/backup/sample-piece.ts';
import { SamplePlan } from '../../../src/agent/backup/sample-plan.ts';
import { PAGE_BYTES } from '../../../src/chunker/object.ts';
import { pattern } from '../nbd/servers.ts';
import { MemoryReader, PageRig } from './page-rig.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

/** The pages that a plan samples of a disk. */
function samplesOf(sizeBytes: number, averageBytes: number): SampleWork[] {
  const plan = new SamplePlan(sizeBytes, averageBytes);
  const samples: SampleWork[] = [];
  for (let offset = 0; offset < sizeBytes; offset += PAGE_BYTES) {
    const length = Math.min(PAGE_BYTES, sizeBytes - offset);
    const sample = plan.of({ offset, length, page: undefined, changed: [] });
    if (sample !== undefined) samples.push(sample);
  }
  return samples;
}

test('one chunk in a thousand is sampled, at least one, and never more than 16 MiB', () => {
  const sizes = fc.oneof(
    fc.integer({ min: 1, max: GiB }),
    fc.integer({ min: 1, max: 2048 }).map((gib) => gib * GiB),
  );
  fc.assert(
    fc.property(sizes, fc.constantFrom(64 * KiB, 256 * KiB), (sizeBytes, averageBytes) => {
      const samples = samplesOf(sizeBytes, averageBytes);
      const wanted = Math.ceil(sizeBytes / averageBytes / 1000);
      const most = Math.floor((16 * MiB) / (4 * averageBytes));
      assert.equal(samples.length, Math.min(wanted, most, Math.ceil(sizeBytes / PAGE_BYTES)));
      assert.ok(samples.length >= 1);
      // Each sample is at most one piece, and a piece is at most four averages long.
      assert.ok(samples.length * 4 * averageBytes <= 16 * MiB);
      assert.ok(samples.every(({ pick }) => pick >= 0 && pick < 1));
    }),
    { numRuns: 60 },
  );
});

test('an empty disk has no samples', () => {
  assert.deepEqual(samplesOf(0, 64 * KiB), []);
});

test('which pages are sampled differs from run to run', () => {
  const runs = Array.from({ length: 12 }, () =>
    samplesOf(64 * GiB, 64 * KiB)
      .map((sample) => sample.offset)
      .join(),
  );
  assert.ok(new Set(runs).size > 1);
});

/** Every sample that any `pick` can take of one page. */
async function allSamples(rig: PageRig, disk: Uint8Array, base: Uint8Array, changed: SampleWork['changed']) {
  const { page } = await rig.full(base);
  const results = [];
  for (let pick = 0; pick < 1; pick += 1 / 64) {
    const work = { offset: 0, length: disk.length, page, changed, pick };
    results.push(await comparePiece(work, new MemoryReader(disk), rig.sink));
  }
  return results;
}

test('samples of a page that did not change find nothing; each reads one piece', async () => {
  const rig = new PageRig(16 * KiB);
  const disk = Buffer.concat([pattern(400 * KiB, 3), Buffer.alloc(500 * KiB), pattern(100 * KiB + 9, 4)]);
  for (const { bytesRead, lie } of await allSamples(rig, disk, disk, [])) {
    assert.equal(lie, undefined);
    assert.ok(bytesRead > 0 && bytesRead <= 256 * KiB, `${bytesRead} bytes`);
  }
});

test('a map that leaves out what changed is caught where the sample falls on it', async () => {
  const rig = new PageRig(16 * KiB);
  const base = Buffer.concat([pattern(300 * KiB, 3), Buffer.alloc(300 * KiB)]);
  const disk = pattern(600 * KiB, 8);
  const named = [{ offset: 0, length: 100 * KiB }];
  for (const { bytesRead, lie } of await allSamples(rig, disk, base, named)) {
    assert.ok(lie !== undefined && lie.length === bytesRead);
    // What the map names is not held against it.
    assert.ok(lie.offset >= 100 * KiB, `${lie.offset}`);
  }
});

test('a page of which everything is named, or whose base is lost, gives no sample', async () => {
  const rig = new PageRig(16 * KiB);
  const disk = pattern(200 * KiB, 3);
  const everything = await allSamples(rig, disk, disk, [{ offset: 0, length: disk.length }]);
  assert.deepEqual(everything[0], { bytesRead: 0, lie: undefined, isLost: false });
  const lost = { offset: 0, length: disk.length, page: Buffer.alloc(32, 1) as never, changed: [], pick: 0.5 };
  assert.deepEqual(await comparePiece(lost, new MemoryReader(disk), rig.sink), {
    bytesRead: 0,
    lie: undefined,
    isLost: true,
  });
});

test('a page that was zeros is sampled in as much as an average chunk, at a block', async () => {
  const disk = Buffer.alloc(2 * MiB).fill(1, MiB);
  const rig = new PageRig(64 * KiB);
  const lies = new Set<boolean>();
  for (let pick = 0; pick < 1; pick += 1 / 32) {
    const reader = new MemoryReader(disk);
    const { bytesRead, lie } = await comparePiece(
      { offset: 0, length: disk.length, page: undefined, changed: [], pick },
      reader,
      rig.sink,
    );
    assert.equal(bytesRead, 64 * KiB);
    assert.equal(reader.reads[0].offset % 4096, 0);
    lies.add(lie !== undefined);
  }
  assert.deepEqual(lies, new Set([true, false]));
});
