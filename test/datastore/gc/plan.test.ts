import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type PackFigures, planCollection } from '../../../src/datastore/gc/plan.ts';
import { PACK_TARGET_BYTES } from '../../../src/datastore/packs/pack-format.ts';

const MIB = 1024 * 1024;
let number = 0;

function pack(liveMib: number, deadMib: number, kind = 1): PackFigures {
  return {
    pack: number++,
    kind,
    fileBytes: (liveMib + deadMib) * MIB,
    liveBytes: liveMib * MIB,
    deadBytes: deadMib * MIB,
    liveRecords: Math.ceil(liveMib),
  };
}

const rewritten = (plan: ReturnType<typeof planCollection>): number[] => plan.rewrite.flatMap((job) => job.packs);

test('wholly dead packs are dropped and wholly live ones left alone', () => {
  const [dead, live] = [pack(0, 100), pack(100, 0)];
  const plan = planCollection([dead, live]);
  assert.deepEqual(plan.drop, [dead]);
  assert.deepEqual(plan.rewrite, []);
  assert.equal(plan.pendingBytes, 0);
});

test('a pack more than a third dead is rewritten even when most garbage goes without it', () => {
  const half = pack(10, 6);
  const plan = planCollection([pack(0, 4000), half, pack(90, 1)]);
  assert.deepEqual(rewritten(plan), [half.pack]);
  assert.equal(plan.pendingBytes, MIB);
});

test('garbage spread thin is given back too, the deadest packs first, until all but a twentieth goes', () => {
  const packs = Array.from({ length: 40 }, (_, n) => pack(100 - n / 2, 10 + n / 2));
  const plan = planCollection(packs);
  const dead = packs.reduce((sum, { deadBytes }) => sum + deadBytes, 0);
  assert.ok(plan.pendingBytes <= dead * 0.05, `${plan.pendingBytes} of ${dead} stay`);
  const left = packs.filter(({ pack }) => !rewritten(plan).includes(pack));
  const worst = Math.max(...left.map((figures) => figures.deadBytes));
  for (const { pack, deadBytes } of packs) if (deadBytes > worst) assert.ok(rewritten(plan).includes(pack));
});

test('a hundredth of garbage is not worth copying the rest', () => {
  const plan = planCollection([pack(99, 1), pack(99, 1)]);
  assert.deepEqual(plan.rewrite, []);
  assert.equal(plan.pendingBytes, 2 * MIB);
});

test('small packs are merged when there are many of a kind, never across kinds', () => {
  const few = Array.from({ length: 16 }, () => pack(1, 0));
  assert.deepEqual(planCollection(few).rewrite, []);
  const many = [...Array.from({ length: 17 }, () => pack(1, 0, 1)), ...Array.from({ length: 3 }, () => pack(1, 0, 2))];
  const plan = planCollection(many);
  assert.equal(plan.rewrite.length, 1);
  assert.deepEqual(
    rewritten(plan),
    many.slice(0, 17).map(({ pack }) => pack),
  );
});

test('every job makes one pack of one kind, and no pack is in two jobs', () => {
  const figures = fc.record({ live: fc.nat(128), dead: fc.nat(128), kind: fc.integer({ min: 1, max: 2 }) });
  fc.assert(
    fc.property(fc.array(figures, { maxLength: 120 }), (all) => {
      const packs = all.map(({ live, dead, kind }) => pack(live, dead, kind));
      const plan = planCollection(packs);
      const seen = new Set(plan.drop.map((dead) => dead.pack));
      for (const dead of plan.drop) assert.equal(dead.liveRecords, 0);
      for (const job of plan.rewrite) {
        assert.ok(job.liveBytes <= PACK_TARGET_BYTES || job.packs.length === 1);
        assert.ok(job.packs.length <= 64);
        for (const number of job.packs) {
          const source = packs.find((candidate) => candidate.pack === number) as PackFigures;
          assert.equal(source.kind, job.kind);
          assert.ok(!seen.has(number), `pack ${number} is planned twice`);
          seen.add(number);
        }
      }
      const left = packs.filter((candidate) => !seen.has(candidate.pack));
      assert.equal(
        plan.pendingBytes,
        left.reduce((sum, { deadBytes }) => sum + deadBytes, 0),
      );
    }),
  );
});
