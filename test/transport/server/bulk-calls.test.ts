// The bulk calls over real TLS against real stores: what a client puts is there, what it may read comes back byte for byte, and whatever it should
// not have done is refused by name with nothing of it kept.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, test } from 'node:test';
import { createCodec } from '../../../src/chunker/create-codec.ts';
import { deriveDataKey } from '../../../src/chunker/data-key.ts';
import { Kind } from '../../../src/chunker/object.ts';
import { shortHash } from '../../../src/chunker/object-id.ts';
import { makeRecord, randomRecord } from '../../datastore/fixture.ts';
import { ALICE, EVE, framed, makeImage, Rig, unframed } from './rig.ts';

let rig: Rig;

beforeEach(async () => {
  rig = await Rig.start();
});

afterEach(async () => {
  assert.deepEqual(rig.reported, []);
  await rig.stop();
});

const CHUNKS = ['the first', 'the second', 'x'.repeat(5000), randomBytes(300_000)];

test('what was put is known, is committed, and comes back byte for byte', async () => {
  const client = await rig.backup();
  const image = makeImage(CHUNKS);
  assert.deepEqual(
    await client.have(...image.all.map(({ id }) => id)),
    image.all.map(() => false),
  );
  assert.deepEqual((await client.put(...image.all)).json, { records: image.all.length });
  assert.deepEqual(
    await client.have(...image.all.map(({ id }) => id)),
    image.all.map(() => true),
  );
  const { manifest, warnings } = await client.commit(image);
  assert.deepEqual(warnings, []);
  assert.equal(manifest.server.owner, ALICE);
  assert.deepEqual((await client.commit(image)).manifest, manifest, 'repeated, it is the same snapshot');
  const reader = await rig.read([manifest.server.time]);
  assert.deepEqual(reader.opened.manifests, [manifest]);
  const ids = [image.list, image.page, ...image.chunks];
  assert.deepEqual(
    await reader.get(...ids.map(({ id }) => id)),
    ids.map(({ record }) => record),
  );
});

test('only what a served record named may be read, also in the order of one call', async () => {
  const client = await rig.backup();
  const image = await client.putImage(CHUNKS);
  const { manifest } = await client.commit(image);
  const reader = await rig.read([manifest.server.time]);
  const chunk = image.chunks[0]!;
  assert.deepEqual(await reader.get(chunk.id, image.page.id), [undefined, undefined]);
  assert.deepEqual(await reader.have(image.list.id, image.page.id, chunk.id), [true, false, false]);
  assert.deepEqual(await reader.get(chunk.id, image.list.id, chunk.id, image.page.id, chunk.id), [
    undefined,
    image.list.record,
    undefined,
    image.page.record,
    chunk.record,
  ]);
  assert.deepEqual(await reader.have(image.list.id, image.page.id, chunk.id), [true, true, true]);
  const other = await rig.read([manifest.server.time]);
  assert.deepEqual(await other.get(chunk.id), [undefined], 'another session has not seen it');
  assert.equal((await reader.put(chunk)).json.code, 'bad-argument');
});

test('what others stored is neither had nor read nor named, and putting it again is silent', async () => {
  const alice = await rig.backup();
  const image = await alice.putImage(CHUNKS);
  await alice.commit(image);
  const eve = await rig.backup({ group: 'vm/666', authId: EVE });
  const ids = image.all.map(({ id }) => id);
  assert.deepEqual(
    await eve.have(...ids),
    ids.map(() => false),
  );
  assert.deepEqual(
    await eve.get(...ids),
    ids.map(() => undefined),
  );
  const refused = await eve.put(image.page);
  assert.equal(refused.status, 400);
  assert.equal(refused.json.code, 'out-of-scope');
  assert.deepEqual(refused.json.data, {
    ref: image.chunks[0]!.id.toString('hex'),
    index: 0,
    id: image.page.id.toString('hex'),
  });
  assert.deepEqual((await eve.put(...image.all)).json, { records: image.all.length });
});

test('nobody learns from counters, manifests or sizes what others have stored', async () => {
  const image = makeImage(CHUNKS);
  const seen = [];
  for (const [group, authId] of [
    ['vm/101', ALICE],
    ['vm/666', EVE],
  ] as const) {
    const client = await rig.backup({ group, authId });
    await client.put(...image.all);
    await client.put(image.chunks[0]!);
    const counters = await client.counters();
    const { manifest } = await client.commit(image);
    seen.push([counters, manifest.server.bytesStored]);
    assert.deepEqual(await client.counters(), counters, 'also after the commit');
  }
  assert.deepEqual(seen[1], seen[0]);
  const bytes = image.all.reduce((sum, { record }) => sum + record.length, 0);
  assert.deepEqual(seen[0], [[image.all.length, 1, bytes], bytes]);
  const again = await rig.backup();
  await again.put(...image.all);
  assert.deepEqual(await again.counters(), [0, image.all.length, 0], 'the own ones are in scope');
});

test('the first record that is refused ends the call: those before it stay, it and those behind do not', async () => {
  const client = await rig.backup();
  const [first, second, third] = [randomRecord(100), randomRecord(100), randomRecord(100)];
  const bad = Buffer.from(second.record);
  bad[70]! ^= 1;
  const answer = await client.bulk('put', framed([first, bad, third]));
  assert.equal(answer.status, 400);
  assert.equal(answer.json.code, 'object-damaged');
  assert.deepEqual(answer.json.data, { index: 1, id: second.id.toString('hex') });
  assert.deepEqual(await client.have(first.id, second.id, third.id), [true, false, false]);
});

test('a record whose content is another than its id says is refused, of every kind and form', async () => {
  const client = await rig.backup();
  for (const kind of [Kind.data, Kind.blob])
    for (const payload of [randomBytes(200), Buffer.alloc(200, 7), Buffer.alloc(0)]) {
      const made = makeRecord(payload, kind);
      const forged = Buffer.from(made.record);
      randomBytes(32).copy(forged, 24);
      shortHash(forged.subarray(0, -16)).copy(forged, forged.length - 16);
      const answer = await client.bulk('put', framed([forged]));
      assert.equal(answer.json.code, 'object-damaged');
      assert.deepEqual(await client.have(forged.subarray(24, 56), made.id), [false, false]);
      assert.deepEqual((await client.put(made)).json, { records: 1 });
      assert.deepEqual(await client.have(made.id), [true]);
    }
});

test('an encrypted record in space plain, a plain one in an encrypted space, and a claimed id that only its owner sees', async () => {
  const key = deriveDataKey(Buffer.alloc(32, 1));
  const codec = createCodec(key);
  const refs = Buffer.alloc(0);
  const payload = Buffer.from('secret');
  const id = Buffer.from(codec.id(Kind.data, refs, payload));
  const target = Buffer.alloc(codec.recordBound(0, payload.length));
  const encrypted = target.subarray(0, codec.encode(target, { kind: Kind.data, id, refs, payload }));
  const plain = await rig.backup();
  assert.equal((await plain.bulk('put', framed([encrypted]))).json.code, 'object-damaged');
  const space = await rig.backup({ fingerprint: key.fingerprint });
  assert.equal((await space.put(randomRecord(10))).json.code, 'object-damaged');
  assert.deepEqual((await space.bulk('put', framed([encrypted]))).json, { records: 1 });
  assert.deepEqual(await space.have(id), [true]);
  assert.deepEqual(await plain.have(id), [false]);
  const eve = await rig.backup({ group: 'vm/666', authId: EVE, fingerprint: key.fingerprint });
  assert.deepEqual(await eve.have(id), [false]);
});

test('encrypted snapshots are read without their key', async () => {
  const key = deriveDataKey(Buffer.alloc(32, 1));
  const { putWholeImage, clientPart, NO_SIGNAL } = await import('../../support/store.ts');
  const local = await rig.open.session('vm/101', ALICE, key);
  const { root, sizeBytes } = await putWholeImage(rig.open, local, ['one', 'two']);
  const { manifest } = await local.commit(clientPart(root, sizeBytes, 'vm/101', key), undefined, NO_SIGNAL);
  const reader = await rig.read([manifest.server.time]);
  const codec = createCodec(key);
  const [list] = await reader.get(root);
  const page = Buffer.from(codec.open(list!, root).refs);
  const [pageRecord] = await reader.get(page);
  const chunks = Buffer.from(codec.open(pageRecord!, page).refs);
  const records = await reader.get(chunks.subarray(0, 32), chunks.subarray(32));
  assert.deepEqual(
    records.map((record, place) =>
      codec.open(record!, chunks.subarray(place * 32, place * 32 + 32)).payload.toString(),
    ),
    ['one', 'two'],
  );
});

test('parents before children, and children of nobody, are refused', async () => {
  const client = await rig.backup();
  const image = makeImage(CHUNKS);
  assert.equal((await client.put(image.page)).json.code, 'out-of-scope');
  assert.equal((await client.put(...image.chunks.slice(1), image.page)).json.data?.index, image.chunks.length - 1);
  assert.equal((await client.put(...image.chunks, image.page, image.list)).status, 200);
  assert.equal((await client.put(...image.all, ...image.all)).status, 200, 'twice is as good as once');
});

test('bodies that are cut, too long or no list of ids', async () => {
  const client = await rig.backup();
  const { record, id } = randomRecord(1000);
  for (const cut of [1, 3, 4, 5, 200, record.length + 3]) {
    const answer = await client.bulk('put', framed([record]).subarray(0, cut));
    assert.equal(answer.json.code, 'bad-argument', String(cut));
    assert.deepEqual(await client.have(id), [false]);
  }
  assert.deepEqual((await client.bulk('put', Buffer.alloc(0))).json, { records: 0 });
  assert.equal((await client.bulk('put', Buffer.alloc(4))).json.code, 'object-damaged');
  assert.equal((await client.bulk('put', Buffer.alloc(4, 255))).json.code, 'too-large');
  assert.equal((await client.bulk('have', Buffer.alloc(33))).json.code, 'bad-argument');
  assert.equal((await client.bulk('get', Buffer.alloc(31))).json.code, 'bad-argument');
  assert.equal((await client.bulk('have', Buffer.alloc(65_537 * 32))).json.code, 'too-large');
  assert.deepEqual(unframed((await client.bulk('get', Buffer.alloc(0))).body), []);
  assert.equal((await client.bulk('have', Buffer.alloc(0))).body.length, 0);
});

test('the token of its session, and of no other', async () => {
  const [one, two] = [await rig.backup(), await rig.backup({ group: 'vm/102' })];
  const path = `/v1/${one.id}/have`;
  for (const token of [undefined, '', two.opened.token, one.opened.token.slice(1), `${one.opened.token}x`]) {
    const { status, json } = await rig.call(path, token, Buffer.alloc(32));
    assert.deepEqual([status, json.code], [401, 'not-authenticated']);
  }
  assert.equal((await rig.call(path, one.opened.token, Buffer.alloc(32))).status, 200);
  const gone = await rig.call(`/v1/${'0'.repeat(32)}/have`, one.opened.token, Buffer.alloc(32));
  assert.deepEqual([gone.status, gone.json.code], [404, 'session-gone']);
  for (const wrong of ['/', '/v1', `/v1/${one.id}/drop`, `/v1/${one.id.toUpperCase()}/have`, `/v1/${one.id}/have?x`])
    assert.deepEqual((await rig.call(wrong, one.opened.token, Buffer.alloc(0))).json.code, 'not-found', wrong);
});

test('a session that has ended is gone, and what it put is adopted by the next one', async () => {
  const client = await rig.backup();
  const image = await client.putImage(CHUNKS);
  await client.end();
  assert.deepEqual((await client.bulk('have', image.list.id)).json.code, 'session-gone');
  await assert.rejects(client.commit(image), { code: 'session-gone' });
  const next = await rig.backup();
  assert.equal(next.opened['adopted-objects'], image.all.length);
  assert.deepEqual(
    await next.have(...image.all.map(({ id }) => id)),
    image.all.map(() => true),
  );
  await next.commit(image);
});
