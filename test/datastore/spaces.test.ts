// The file `spaces`: numbers in the order of lines, what a torn write leaves, what damage is told, and what a repair finds again.
import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { crc32 } from 'node:zlib';
import type { Layout } from '../../src/datastore/layout.ts';
import { rebuildSpaces } from '../../src/datastore/repair/repair-spaces.ts';
import { fingerprintOf, Spaces } from '../../src/datastore/spaces.ts';
import type { Manifest } from '../../src/schema/manifest.ts';
import { append, makeBuffer, randomRecord, Store } from './fixture.ts';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);
const ANNA = 'anna@pam';

/** A store with the spaces 1 to 3. */
async function withSpaces(t: TestContext): Promise<{ store: Store; layout: Layout }> {
  const store = await Store.create(t);
  const spaces = Spaces.load(store.layout);
  for (const [owner, key] of [
    [ANNA, A],
    ['üñ@pbs', A],
    [ANNA, B],
  ] as const)
    await spaces.add(owner, key, 0);
  return { store, layout: store.layout };
}

/** A sealed pack with one record in this space. */
function useSpace(store: Store, space: number): void {
  const writer = store.writer(makeBuffer());
  append(writer, randomRecord(100), space);
  writer.seal();
}

const manifest = (space: number, owner: string, key: string | null, time: number): Manifest =>
  ({ client: { key }, server: { space, owner, time } }) as Manifest;

test('each line has the next number, and the layout of the format', async (t) => {
  const { layout } = await withSpaces(t);
  const spaces = Spaces.load(layout);
  assert.deepEqual(
    [spaces.find(ANNA, A), spaces.find('üñ@pbs', A), spaces.find(ANNA, B), spaces.find('x@pam', A)],
    [1, 2, 3, undefined],
  );
  assert.deepEqual([spaces.name(0), spaces.name(3), spaces.name(4)], [undefined, { owner: ANNA, key: B }, undefined]);
  const [first] = readFileSync(layout.spaces, 'utf8').split('\n');
  const json = `{"owner":"anna@pam","key":"${A}"}`;
  assert.equal(first, `${json} ${crc32(json).toString(16).padStart(8, '0')}`);
  assert.equal(fingerprintOf(layout, 2), A);
  assert.equal(fingerprintOf(layout, 4), undefined);
});

test('a last line that is torn was never used: the next one takes its place', async (t) => {
  const { layout } = await withSpaces(t);
  const whole = readFileSync(layout.spaces);
  for (const torn of [
    whole.subarray(0, -1),
    whole.subarray(0, -30),
    whole.subarray(0, whole.length - 1 - whole.toString('latin1').split('\n')[2]!.length + 1),
    Buffer.concat([whole.subarray(0, -3), Buffer.from('xx\n')]),
  ]) {
    writeFileSync(layout.spaces, torn);
    const spaces = Spaces.load(layout);
    assert.equal(spaces.find(ANNA, B), undefined);
    assert.equal(await spaces.add('eve@pbs', B, 2), 3);
    const again = Spaces.load(layout);
    assert.deepEqual([again.find(ANNA, A), again.find('üñ@pbs', A), again.find('eve@pbs', B)], [1, 2, 3]);
  }
});

test('a number that records have is not given again, when the file lost its line', async (t) => {
  const { layout } = await withSpaces(t);
  truncateSync(layout.spaces, readFileSync(layout.spaces).length - 1);
  await assert.rejects(Spaces.load(layout).add('eve@pbs', A, 3), { code: 'datastore-damaged', message: /repair/ });
});

test('a line in between that is damaged ends everything that needs the file', async (t) => {
  const { layout } = await withSpaces(t);
  const bytes = readFileSync(layout.spaces);
  for (const at of [0, 20, 60, 85, 90, 100]) {
    const flipped = Buffer.from(bytes);
    flipped[at]! ^= 1;
    writeFileSync(layout.spaces, flipped);
    assert.throws(
      () => Spaces.load(layout),
      { code: 'datastore-damaged', message: /line 1 is damaged; run: holdfast/ },
      `byte ${at}`,
    );
  }
});

test('a repair leaves a good file alone, also one with a torn last line', async (t) => {
  const { store, layout } = await withSpaces(t);
  useSpace(store, 3);
  assert.equal(rebuildSpaces(layout, [manifest(2, 'other@pam', B, 1)]), undefined);
  appendFileSync(layout.spaces, '{"own');
  assert.equal(rebuildSpaces(layout, []), undefined);
  assert.equal(rebuildSpaces((await Store.create(t)).layout, [manifest(0, ANNA, null, 1)]), undefined);
});

test('a lost file is made anew from manifests, the first of each space, and from packs', async (t) => {
  const store = await Store.create(t);
  useSpace(store, 2);
  useSpace(store, 4);
  const open = store.writer(makeBuffer());
  append(open, randomRecord(100), 5);
  open.barrier();
  t.after(() => open.close());
  const rebuilt = rebuildSpaces(store.layout, [
    manifest(3, 'later@pam', A, 20),
    manifest(3, ANNA, A, 10),
    manifest(1, ANNA, B, 30),
    manifest(0, ANNA, null, 40),
  ])!;
  assert.match(rebuilt.action, /5 spaces.*spaces 2, 4, 5 are could not be told/);
  writeFileSync(store.layout.spaces, rebuilt.text);
  const spaces = Spaces.load(store.layout);
  assert.deepEqual([spaces.find(ANNA, B), spaces.find(ANNA, A)], [1, 3]);
  assert.deepEqual(
    [2, 4, 5].map((space) => spaces.name(space)?.owner),
    ['', '', ''],
  );
  assert.equal(fingerprintOf(store.layout, 2), undefined);
  assert.equal(await spaces.add('eve@pbs', A, 5), 6);
});

test('of a damaged file the good lines stay, and the bad one comes from a manifest', async (t) => {
  const { layout } = await withSpaces(t);
  const bytes = readFileSync(layout.spaces);
  bytes[bytes.indexOf('\n') + 10]! ^= 1;
  writeFileSync(layout.spaces, bytes);
  const rebuilt = rebuildSpaces(layout, [manifest(2, 'üñ@pbs', A, 1)])!;
  writeFileSync(layout.spaces, rebuilt.text);
  const spaces = Spaces.load(layout);
  assert.deepEqual([spaces.find(ANNA, A), spaces.find('üñ@pbs', A), spaces.find(ANNA, B)], [1, 2, 3]);
});
