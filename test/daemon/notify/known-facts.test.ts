// Facts that are read once at a time, however many ask, and what those get who cannot wait.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KnownFacts } from '../../../src/daemon/notify/known-facts.ts';

function fixture(patienceMs: number) {
  const reads: { answer: (facts: string) => void; fail: (error: Error) => void }[] = [];
  const facts = new KnownFacts<string>(
    () => new Promise((answer, fail) => void reads.push({ answer, fail })),
    patienceMs,
  );
  return { facts, reads };
}

test('whoever asks while they are read gets what is read; for who asks often they are kept, for alarms not', async () => {
  const { facts, reads } = fixture(60_000);
  const first = [facts.fresh(), facts.recent(), facts.fresh()];
  assert.equal(reads.length, 1);
  reads[0]?.answer('one');
  assert.deepEqual(await Promise.all(first), ['one', 'one', 'one']);
  assert.equal(await facts.recent(), 'one');
  assert.equal(reads.length, 1);
  const second = facts.fresh();
  assert.equal(reads.length, 2);
  assert.equal(await facts.recent(), 'one', 'they are young enough');
  reads[1]?.answer('two');
  assert.equal(await second, 'two');
  assert.equal(await facts.recent(), 'two');
});

test('what has just changed is not looked for in a reading that began before it', async () => {
  const { facts, reads } = fixture(60_000);
  const before = facts.fresh();
  const both = [facts.anew(), facts.anew()];
  reads[0]?.fail(new Error('boom'));
  await assert.rejects(before, /boom/);
  await new Promise(setImmediate);
  assert.equal(reads.length, 2, 'one more for both');
  reads[1]?.answer('two');
  assert.deepEqual(await Promise.all(both), ['two', 'two']);
  const alone = facts.anew();
  assert.equal(reads.length, 3, 'nobody reads: at once');
  reads[2]?.answer('three');
  assert.equal(await alone, 'three');
});

test('a slow reading holds up no figures, and one that fails is tried again', async (t) => {
  const { facts, reads } = fixture(20);
  assert.equal(await facts.recent(), undefined);
  assert.equal(await facts.recent(), undefined);
  assert.equal(reads.length, 1, 'it is waited for still');
  reads[0]?.fail(new Error('boom'));
  await assert.rejects(facts.fresh(), /boom/);
  const again = facts.fresh();
  reads[1]?.answer('one');
  assert.equal(await again, 'one');
  const now = performance.now();
  t.mock.method(performance, 'now', () => now + 6 * 60_000);
  assert.equal(await facts.recent(), 'one', 'old, while new ones are late');
  reads[2]?.answer('two');
  assert.equal(await facts.fresh(), 'two');
});
