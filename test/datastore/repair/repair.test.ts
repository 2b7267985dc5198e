// Repair of real stores with damaged packs and state files: what is still there is found again, and said what was done.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { type ObjectId, PLAIN_SPACE } from '../../../src/chunker/object.ts';
import { shortHash } from '../../../src/chunker/object-id.ts';
import { clearAnomaly } from '../../../src/datastore/anomaly/clear-anomaly.ts';
import { FLAG_QUARANTINED } from '../../../src/datastore/index/index-entry.ts';
import { Layout } from '../../../src/datastore/layout.ts';
import { PackKind } from '../../../src/datastore/packs/pack-format.ts';
import { planPrune } from '../../../src/datastore/prune/plan.ts';
import type { SalvagedPack } from '../../../src/datastore/repair/salvage-packs.ts';
import { repairStateFiles } from '../../../src/datastore/repair/state-files.ts';
import { parseGroup, parseNamespace } from '../../../src/schema/names.ts';
import { commitImage, createTemporaryStore, NO_SIGNAL, OpenStore } from '../../support/store.ts';

let root: string;
let remove: () => Promise<void>;
let open: OpenStore;
let layout: Layout;

beforeEach(async () => {
  ({ root, remove } = await createTemporaryStore());
  layout = new Layout(root);
  open = await OpenStore.open(root);
});

afterEach(async () => {
  await open.crash();
  await remove();
});

const CHUNKS = ['the first chunk', 'the second chunk', 'the third chunk'];

async function reopen(): Promise<void> {
  await open.close();
  open = await OpenStore.open(root);
}

/** A store with one image, closed; returns its root and the files of its packs by kind. */
async function storeWithImage(): Promise<{ image: ObjectId; dataPack: string; metadataPack: string }> {
  const { root: image } = await commitImage(open, CHUNKS);
  const paths = new Map<number, string>();
  const { packs } = open.store;
  for (let pack = 0; pack < packs.count; pack++) paths.set(packs.kind(pack), layout.sealedPack(packs.packId(pack)));
  await open.close();
  return {
    image,
    dataPack: paths.get(PackKind.data) as string,
    metadataPack: paths.get(PackKind.metadata) as string,
  };
}

function readsBack(image: ObjectId): void {
  const { source } = open.store;
  const page = Buffer.from(source.get(PLAIN_SPACE, image).refs) as ObjectId;
  const { refs } = source.get(PLAIN_SPACE, page);
  for (const [place, text] of CHUNKS.entries()) {
    const id = Buffer.from(refs.subarray(place * 32, place * 32 + 32)) as ObjectId;
    assert.equal(source.get(PLAIN_SPACE, id).payload.toString(), text);
  }
}

const repair = async (dryRun = false): Promise<readonly SalvagedPack[]> =>
  (await open.store.repairPacks(dryRun, NO_SIGNAL)).packs;
const packNames = (): string[] => readdirSync(layout.packs).sort();

function damageFooter(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length - 10]! ^= 1;
  writeFileSync(path, bytes);
}

test('a whole store: nothing to do', async () => {
  const { image } = await storeWithImage();
  open = await OpenStore.open(root);
  const before = packNames();
  assert.deepEqual(await repair(), []);
  assert.deepEqual(packNames(), before);
  readsBack(image);
});

for (const [what, damage] of [
  ['an altered footer', damageFooter],
  ['a footer cut off', (path: string): void => truncateSync(path, statSync(path).size - 64)],
] as const) {
  test(`${what}: its records are in a new pack, which needs no scan, and the old file is set aside`, async () => {
    const { image, dataPack } = await storeWithImage();
    damage(dataPack);
    open = await OpenStore.open(root);
    assert.match(open.store.warnings.join(), /footer is damaged/);
    const file = dataPack.slice(layout.packs.length + 1);
    assert.deepEqual(await repair(true), [{ file, problem: 'footer', records: 3 }]);
    assert.ok(existsSync(dataPack), 'a dry run changes nothing');
    assert.deepEqual(await repair(), [{ file, problem: 'footer', records: 3 }]);
    assert.ok(!existsSync(dataPack) && existsSync(dataPack.replace(/pack$/, 'damaged')));
    readsBack(image);
    await reopen();
    assert.deepEqual(open.store.warnings, []);
    readsBack(image);
    assert.deepEqual(await repair(), []);
  });
}

test('an altered header: the records vouch for themselves', async () => {
  const { image, dataPack, metadataPack } = await storeWithImage();
  for (const path of [dataPack, metadataPack]) {
    const bytes = readFileSync(path);
    bytes.fill(0xee, 0, 128);
    writeFileSync(path, bytes);
  }
  open = await OpenStore.open(root);
  assert.throws(() => readsBack(image), { code: 'object-missing' });
  assert.deepEqual((await repair()).map(({ problem, records }) => `${problem} ${records}`).sort(), [
    'header 2',
    'header 3',
  ]);
  readsBack(image);
  await reopen();
  assert.deepEqual(open.store.warnings, []);
  readsBack(image);
});

test('a bad record in a pack without a footer is left behind, the others are found', async () => {
  const { dataPack } = await storeWithImage();
  const bytes = readFileSync(dataPack);
  bytes[bytes.indexOf('the second chunk')]! ^= 1;
  bytes[bytes.length - 10]! ^= 1;
  writeFileSync(dataPack, bytes);
  open = await OpenStore.open(root);
  assert.equal((await repair())[0]?.records, 2);
});

test('a table that a guest could have written is not believed: a record under a false id is no record', async () => {
  const { dataPack } = await storeWithImage();
  const bytes = readFileSync(dataPack);
  // The id in the table and in the record, with the record's checksum made anew; the scan has no tag that holds for it.
  const footer = Number(bytes.readBigUInt64LE(bytes.length - 56));
  const [table, record] = [footer + 24, bytes.readUInt32LE(footer + 24 + 36)];
  const length = bytes.readUInt32LE(table + 40);
  bytes[table]! ^= 1;
  bytes[record + 24]! ^= 1;
  shortHash(bytes.subarray(record, record + length - 16)).copy(bytes, record + length - 16);
  bytes[bytes.length - 10]! ^= 1;
  writeFileSync(dataPack, bytes);
  open = await OpenStore.open(root);
  assert.equal((await repair())[0]?.records, 2);
});

test('a pack of another store is said and not touched', async () => {
  const { dataPack } = await storeWithImage();
  const other = await createTemporaryStore();
  try {
    const foreign = await OpenStore.open(other.root);
    await commitImage(foreign, ['of another store']);
    await foreign.close();
    const from = new Layout(other.root);
    const [name] = readdirSync(from.packs) as [string];
    writeFileSync(join(layout.packs, name), readFileSync(join(from.packs, name)));
    open = await OpenStore.open(root);
    assert.deepEqual(await repair(), [{ file: name, problem: 'foreign', records: 0 }]);
    assert.ok(existsSync(join(layout.packs, name)) && existsSync(dataPack));
  } finally {
    await other.remove();
  }
});

test('a quarantined copy that reads well again is let go, one that does not stays', async () => {
  const { image } = await storeWithImage();
  open = await OpenStore.open(root);
  const { index } = open.store;
  const page = Buffer.from(open.store.source.get(PLAIN_SPACE, image).refs);
  const refs = open.store.source.get(PLAIN_SPACE, page as ObjectId).refs;
  const [good, bad] = [0, 1].map((place) => index.first(PLAIN_SPACE, refs, place * 32)) as [number, number];
  const path = layout.sealedPack(open.store.packs.packId(index.pack(bad)));
  const bytes = readFileSync(path);
  bytes[index.offset(bad) + 70]! ^= 1;
  writeFileSync(path, bytes);
  for (const entry of [good, bad]) {
    index.quarantine(entry);
    open.store.noteQuarantined(entry);
  }
  assert.equal((await open.store.repairPacks(true, NO_SIGNAL)).copiesReleased, 0);
  assert.equal((await open.store.repairPacks(false, NO_SIGNAL)).copiesReleased, 1);
  assert.ok(!index.has(good, FLAG_QUARANTINED) && index.has(bad, FLAG_QUARANTINED));
  await reopen();
  const marked = [...open.store.index.entries()].filter((entry) => open.store.index.has(entry, FLAG_QUARANTINED));
  assert.equal(marked.length, 1);
});

test('state files that are damaged or gone are made anew, and the store opens', async () => {
  const { image } = await storeWithImage();
  const group = join(layout.snapshots, 'vm/101/group.json');
  // What is usual is learned anew.
  const { added: _, ...before } = JSON.parse(readFileSync(group, 'utf8')) as Record<string, unknown>;
  const { epoch } = JSON.parse(readFileSync(layout.holder, 'utf8')) as { epoch: number };
  for (const path of [layout.holder, layout.quarantine, layout.clock]) writeFileSync(path, '{');
  writeFileSync(layout.session('ab'.repeat(16)), '');
  rmSync(group);
  await assert.rejects(OpenStore.open(root), { code: 'datastore-damaged' });
  const files = (await repairStateFiles(layout, true)).map(({ file }) => file).sort();
  assert.deepEqual(files, [
    'clock.json',
    'holder.json',
    'quarantine.json',
    `sessions/${'ab'.repeat(16)}.json`,
    'snapshots/vm/101/group.json',
  ]);
  await assert.rejects(OpenStore.open(root), { code: 'datastore-damaged' }, 'a dry run changes nothing');
  assert.equal((await repairStateFiles(layout, false)).length, 5);
  assert.deepEqual(await repairStateFiles(layout, false), []);
  open = await OpenStore.open(root);
  readsBack(image);
  assert.deepEqual(JSON.parse(readFileSync(group, 'utf8')), before);
  const after = JSON.parse(readFileSync(layout.holder, 'utf8')) as { epoch: number };
  assert.ok(after.epoch > epoch, 'an epoch is never used twice');
  assert.equal((await commitImage(open, ['more'])).manifest.server.sequence, 2);
});

test('a group of which nobody knows any more whether it was held is held when it has protected snapshots', async () => {
  await commitImage(open, CHUNKS);
  const { manifest } = await commitImage(open, ['one']);
  await commitImage(open, ['two']);
  const [ns, group] = [parseNamespace(''), parseGroup('vm/101')];
  const name = { ns, group, time: manifest.server.time };
  await open.store.updateSnapshot(name, { protected: true }, true);
  const path = join(layout.snapshots, 'vm/101/group.json');
  await open.close();
  rmSync(path);
  const [mended] = await repairStateFiles(layout, false);
  assert.match(
    mended?.action ?? '',
    /^written anew from 3 manifests; held until somebody has looked \(holdfast anomaly list\)/,
  );
  open = await OpenStore.open(root);
  const request = { ns, groups: [group], counts: { 'keep-last': 1 }, clockMs: 0 };
  const plan = await planPrune(open.store.groups, request, NO_SIGNAL);
  assert.deepEqual(
    plan.groups[0]?.snapshots.map(({ rule }) => rule),
    ['anomaly', 'protected', 'keep-last'],
  );
  assert.match(
    plan.warnings.join(),
    /^vm\/101 has protected snapshots, and lost in a repair whether it was held: it is not pruned/,
  );
  const newest = (await open.store.groups.times(ns, group)).at(-1) as number;
  await open.store.updateSnapshot({ ns, group, time: newest }, { protected: true }, true);
  await assert.rejects(open.store.updateSnapshot({ ns, group, time: newest }, { protected: false }, false), {
    code: 'protected',
  });
  await commitImage(open, ['three']);
  const work = { signal: NO_SIGNAL, onProgress: () => {}, warn: () => {} };
  await clearAnomaly.run(open.store, { ns, group, wasAttack: false }, work);
  assert.equal((await open.store.groups.state(ns, group))?.anomaly, undefined);
  assert.equal((await open.store.groups.manifest(name))?.server.protected, true, 'whoever protected it');
});
