// Which readers are in order, and how far ahead of them is read; and the budget that answers wait for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteBudget } from '../../../src/agent/nbd/byte-budget.ts';
import { ReadAhead } from '../../../src/agent/serve/read-ahead.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

test('a reader is trusted after 512 KiB in order, and read ahead of by 8 MiB', () => {
  const ahead = new ReadAhead();
  for (let at = 0; at < 448 * KiB; at += 64 * KiB) assert.equal(ahead.note(at, 64 * KiB), undefined, `${at}`);
  const reader = ahead.note(448 * KiB, 64 * KiB)!;
  assert.deepEqual([reader.fetched, ReadAhead.goal(reader)], [512 * KiB, 512 * KiB + 8 * MiB]);
  reader.fetched = ReadAhead.goal(reader);
  assert.equal(ahead.note(512 * KiB, 64 * KiB), reader);
});

test('requests that overtake each other are one reader, those all over the disk are none', () => {
  const ahead = new ReadAhead();
  const found = [3, 1, 0, 2].map((place) => ahead.note(place * 256 * KiB, 256 * KiB));
  assert.equal(found[0], undefined);
  assert.equal(found.at(-1)?.next, MiB);
  const random = new ReadAhead();
  for (let count = 0; count < 1000; count++)
    assert.equal(random.note(((count * 7919) % 1000) * 100 * MiB, 4 * KiB), undefined);
});

test('a reader goes on 16 MiB behind and 4 MiB before its furthest request, and no further; what is fetched is not asked for', () => {
  const start = 100 * MiB;
  const at = (offset: number) => {
    const ahead = new ReadAhead();
    const reader = ahead.note(start - MiB, MiB);
    return ahead.note(offset, 4 * KiB) === reader;
  };
  assert.deepEqual([start - 16 * MiB, start + 4 * MiB].map(at), [true, true]);
  assert.deepEqual([start - 16 * MiB - 1, start + 4 * MiB + 1].map(at), [false, false]);
  const ahead = new ReadAhead();
  const reader = ahead.note(start - MiB, MiB)!;
  reader.fetched = ReadAhead.goal(reader);
  assert.equal(ahead.note(start - MiB, 4 * KiB), undefined, 'all is on its way');
  assert.equal(ahead.note(start, 4 * KiB), reader);
});

test('of five readers the one that has waited the longest is forgotten', () => {
  const ahead = new ReadAhead();
  const readers = [0, 1, 2, 3, 4].map((place) => ahead.note(place * 1000 * MiB, MiB));
  assert.equal(ahead.note(1000 * MiB + MiB, 4 * KiB), readers[1]);
  assert.equal(ahead.note(MiB, 4 * KiB), undefined, 'begins anew');
});

test('four readers of a connection are told from each other', () => {
  const ahead = new ReadAhead();
  const step = (reader: number, round: number) => ahead.note(reader * 1000 * MiB + round * MiB, MiB);
  const first = [0, 1, 2, 3].map((reader) => step(reader, 0));
  assert.equal(new Set(first).size, 4);
  for (let round = 1; round < 20; round++)
    for (let reader = 0; reader < 4; reader++) assert.equal(step(reader, round), first[reader]);
});

test('the budget is given in order of asking, never beyond its size, and what is larger than it gets all', async () => {
  const budget = new ByteBudget(10);
  const got: string[] = [];
  const ask = async (name: string, bytes: number): Promise<void> => {
    await budget.take(bytes);
    got.push(name);
  };
  await ask('a', 6);
  const waiting = [ask('b', 5), ask('c', 1), ask('d', 1000)];
  await Promise.resolve();
  assert.deepEqual(got, ['a'], 'c does not overtake b');
  budget.give(6);
  await Promise.all(waiting.slice(0, 2));
  assert.deepEqual(got, ['a', 'b', 'c']);
  budget.give(5);
  budget.give(1);
  await waiting[2];
  assert.equal(budget.freeBytes, 0);
  budget.give(1000);
  assert.equal(budget.freeBytes, 10);
});
