// Which snapshots before an anomaly are protected, in a real store: what was made right before it to take their places does not.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { worthProtecting } from '../../../src/datastore/anomaly/worth-protecting.ts';
import { changeServerPart } from '../../../src/datastore/snapshots/change-server-part.ts';
import { parseGroup, parseNamespace } from '../../../src/schema/names.ts';
import { clientPart, createTemporaryStore, NO_SIGNAL, OpenStore, putWholeImage } from '../../support/store.ts';

const DAY = 24 * 3600;
const ROOT = parseNamespace('');
const group = parseGroup('vm/101');
const NOW = Math.floor(Date.now() / 1000);
const GUEST = ['a', 'b', 'c', 'd'].map((each) => each.repeat(1000));
const NOTHING = ['x'];
let open: OpenStore;
let remove: () => Promise<void>;

beforeEach(async () => {
  const made = await createTemporaryStore();
  remove = made.remove;
  open = await OpenStore.open(made.root, 1);
});
afterEach(async () => {
  await open.close();
  await remove();
});

/** Of so many seconds ago. */
async function snapshot(ago: number, chunks: readonly string[] = GUEST): Promise<void> {
  const session = await open.session();
  const { root, sizeBytes } = await putWholeImage(open, session, chunks);
  await session.commit(clientPart(root, sizeBytes), NOW - ago, NO_SIGNAL);
}
async function nights(count: number): Promise<void> {
  for (let n = count; n > 0; n--) await snapshot(n * DAY);
}
/** As days and seconds ago, of an anomaly that comes now or at another time. */
const chosen = async (anomalyTime = NOW): Promise<number[]> =>
  (await worthProtecting(open.store.groups, ROOT, group, anomalyTime, NOW)).map(({ time }) => NOW - time);

test('the three newest, and one that is a week old', async () => {
  await nights(10);
  assert.deepEqual(await chosen(), [DAY, 2 * DAY, 3 * DAY, 7 * DAY]);
});

test('snapshots of nothing right before the attack take no place', async () => {
  await nights(10);
  for (const ago of [50, 40, 30, 20]) await snapshot(ago, NOTHING);
  assert.deepEqual(await chosen(), [DAY, 2 * DAY, 3 * DAY, 7 * DAY]);
});

test('as large as ever, they take three places; those of the day and of the week before stay', async () => {
  await nights(10);
  for (const ago of [50, 40, 30, 20]) await snapshot(ago, [...GUEST].reverse());
  assert.deepEqual(await chosen(), [20, 30, 40, DAY, 7 * DAY]);
  assert.deepEqual(
    await chosen(NOW + 30 * DAY),
    [20, 30, 40, DAY, 7 * DAY],
    'a label in the future makes them no older',
  );
});

test('what a verification found damaged, and what cannot be read, is none of them as long as there are others', async () => {
  await nights(5);
  await changeServerPart(open.store.groups, { ns: ROOT, group, time: NOW - DAY }, () => ({ damaged: true }));
  assert.deepEqual(await chosen(), [2 * DAY, 3 * DAY, 4 * DAY]);
  for (const n of [2, 3, 4, 5])
    await changeServerPart(open.store.groups, { ns: ROOT, group, time: NOW - n * DAY }, () => ({ damaged: true }));
  assert.deepEqual(await chosen(), [DAY, 2 * DAY, 3 * DAY], 'better than nothing');
});

test('of a group with a few snapshots all, and only those before the anomaly', async () => {
  await nights(2);
  assert.deepEqual(await chosen(), [DAY, 2 * DAY]);
  assert.deepEqual(await chosen(NOW - DAY), [2 * DAY]);
});
