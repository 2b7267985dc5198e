// What is kept of files: made anew when a file is another one, bounded, and no turn of the event loop is taken by all of them.
import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { type Made, RememberedFiles } from '../../src/util/remembered-files.ts';

let folder: string;
let made: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hf-remembered-'));
  made = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

const pathOf = (name: string): string => join(folder, name);

function write(name: string, text: string): void {
  writeFileSync(pathOf(`${name}.tmp`), text);
  renameSync(pathOf(`${name}.tmp`), pathOf(name));
}

function ask(files: RememberedFiles<string>, name: string, cost = 1): Promise<string | undefined> {
  return files.get(pathOf(name), async ({ bytes }) => {
    made.push(name);
    return { value: `${name} of ${bytes}`, cost };
  });
}

test('a file is asked once, again when it was replaced, and is gone when it is', async () => {
  const files = new RememberedFiles<string>(10);
  write('a', 'one');
  for (let turn = 0; turn < 3; turn++) assert.equal(await ask(files, 'a'), 'a of 3');
  assert.equal(made.length, 1);
  write('a', 'two!');
  assert.equal(await ask(files, 'a'), 'a of 4');
  write('a', 'same');
  await ask(files, 'a');
  assert.equal(made.length, 3);
  rmSync(pathOf('a'));
  assert.equal(await ask(files, 'a'), undefined);
  assert.equal(made.length, 3);
});

test('a file that appears beside it is another state of it', async () => {
  const files = new RememberedFiles<string>(10);
  write('a', 'one');
  const both = { path: pathOf('a'), beside: pathOf('log') };
  const look = async (): Promise<string | undefined> =>
    await files.get(both, async ({ bytes, besideBytes }) => ({ value: `${bytes} and ${besideBytes}`, cost: 1 }));
  assert.equal(await look(), '3 and undefined');
  write('log', 'said');
  assert.equal(await look(), '3 and 4');
});

test('one that is replaced while it is read is read again', async () => {
  const files = new RememberedFiles<string>(10);
  write('a', 'old');
  await files.get(pathOf('a'), async (): Promise<Made<string>> => {
    write('a', 'new');
    return { value: 'old', cost: 1 };
  });
  assert.equal(await ask(files, 'a'), 'a of 3');
});

test('what was not asked for longest goes when all cost too much, and one that costs too much is not kept', async () => {
  const files = new RememberedFiles<string>(5);
  for (const name of ['a', 'b', 'c']) write(name, name);
  for (const name of ['a', 'b', 'a', 'c', 'a']) await ask(files, name, 2);
  assert.deepEqual(made, ['a', 'b', 'c']);
  await ask(files, 'b', 2);
  assert.deepEqual(made, ['a', 'b', 'c', 'b']);
  await ask(files, 'a', 2);
  assert.equal(made.length, 4);
  for (let turn = 0; turn < 2; turn++) await ask(files, 'c', 6);
  assert.equal(made.length, 6);
  await ask(files, 'a', 2);
  assert.equal(made.length, 6, 'it pushed nothing out');
});

/** Asks for so many files, and returns how many were read for it. */
async function list(files: RememberedFiles<string>, folder: string, count: number): Promise<number> {
  made = [];
  for (let place = 0; place < count; place++) await ask(files, `${folder}${place}`);
  return made.length;
}

test('a list that is longer than what is kept reads little more than what has no room', async () => {
  const files = new RememberedFiles<string>(400);
  for (let place = 0; place < 500; place++) write(`a${place}`, 'a');
  assert.equal(await list(files, 'a', 500), 500);
  await list(files, 'a', 500);
  for (let turn = 0; turn < 5; turn++) assert.ok((await list(files, 'a', 500)) <= 150, `${made.length}`);
});

test('what is asked for now takes the room of other files after some time, and of those that are gone at once', async () => {
  const files = new RememberedFiles<string>(100);
  for (const folder of ['old', 'new', 'next'])
    for (let place = 0; place < 90; place++) write(`${folder}${place}`, folder);
  await list(files, 'old', 90);
  let turns = 0;
  while ((await list(files, 'new', 90)) > 0) assert.ok(++turns < 30, `${made.length}`);
  for (let place = 0; place < 90; place++) for (const folder of ['old', 'new']) rmSync(pathOf(`${folder}${place}`));
  assert.deepEqual([await list(files, 'next', 90), await list(files, 'next', 90)], [90, 0]);
});

test('two questions at once for one file count it once', async () => {
  const files = new RememberedFiles<string>(3);
  write('a', 'a');
  write('b', 'b');
  await Promise.all([ask(files, 'a', 2), ask(files, 'a', 2)]);
  await ask(files, 'b', 1);
  made = [];
  await ask(files, 'a', 2);
  await ask(files, 'b', 1);
  assert.deepEqual(made, []);
});

test('others have their turn while very many are asked', async () => {
  const files = new RememberedFiles<string>(1);
  write('a', 'a');
  let turns = 0;
  const turn = (): void => {
    turns++;
    if (turns < 4) setImmediate(turn);
  };
  setImmediate(turn);
  const end = performance.now() + 5000;
  while (turns < 4 && performance.now() < end) await ask(files, 'a');
  assert.equal(turns, 4);
});
