// Sessions in the main thread: who may open and use them, what bounds them, how they end, and that what readers hold stays.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { afterEach, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { Work } from '../../../src/datastore/control/operation.ts';
import { collectGarbage } from '../../../src/datastore/gc/gc-operation.ts';
import { parseGroup, parseNamespace } from '../../../src/schema/names.ts';
import { randomRecord } from '../../datastore/fixture.ts';
import { clientPart, NO_SIGNAL } from '../../support/store.ts';
import { ALICE, type Client, EVE, makeImage, Rig, type RigOptions, STORE } from './rig.ts';

const SILENT: Work = { signal: NO_SIGNAL, onProgress: () => {}, warn: () => {} };
const ns = parseNamespace('');

let rig: Rig;

const start = async (options: RigOptions = {}): Promise<void> => {
  rig = await Rig.start(options);
};

afterEach(async () => {
  assert.deepEqual(rig.reported, []);
  await rig.stop();
});

async function committed(group = 'vm/101', authId = ALICE): Promise<{ client: Client; time: number }> {
  const client = await rig.backup({ group, authId });
  const { manifest } = await client.commit(await client.putImage([randomBytes(1000), randomBytes(1000)]));
  return { client, time: manifest.server.time };
}

test('the answer tells all that a client needs, and bases once there are some', async () => {
  await start();
  const first = await rig.backup();
  const { limits, token, ...rest } = first.opened;
  assert.match(token, /^[\w-]{43}$/);
  assert.ok(Object.values(limits).every((limit) => limit > 0));
  assert.equal(limits['idle-seconds'], 900);
  assert.deepEqual(rest, {
    session: first.id,
    'bulk-port': rig.listener.port,
    'server-start': rig.sessions.serverStart,
    'store-id': rig.open.store.config.store,
    space: 0,
    'average-bytes': 65_536,
    bases: [],
    'adopted-objects': 0,
    'scope-is-empty': true,
  });
  const { manifest } = await first.commit(await first.putImage(['a']));
  const { bases } = (await rig.backup()).opened;
  assert.deepEqual(bases, [
    {
      name: `vm/101/${new Date(manifest.server.time * 1000).toISOString().replace('.000', '')}`,
      sequence: 1,
      manifest,
      damaged: [],
    },
  ]);
  assert.deepEqual(JSON.parse(JSON.stringify(first.opened)), first.opened, 'plain JSON');
});

test('a scope is empty until its owner has a snapshot, or something to adopt', async () => {
  await start();
  const scopeIsEmpty = async (group: string, authId: string): Promise<unknown> =>
    (await rig.backup({ group, authId })).opened['scope-is-empty'];
  await committed('vm/1', ALICE);
  assert.equal(await scopeIsEmpty('vm/9', EVE), true);
  assert.equal(await scopeIsEmpty('vm/2', ALICE), false, 'snapshots of other groups of the owner count too');
  const unfinished = await rig.backup({ group: 'vm/10', authId: EVE });
  await unfinished.putImage(['a']);
  await unfinished.end();
  assert.equal(await scopeIsEmpty('vm/10', EVE), false);
  assert.equal(await scopeIsEmpty('vm/11', EVE), true);
});

test('a group is of its owner, and of the tokens only where they own it', async () => {
  await start();
  const token = `${ALICE}!nightly`;
  await committed('vm/1', ALICE);
  await committed('vm/2', token);
  for (const [group, authId] of [
    ['vm/1', EVE],
    ['vm/1', token],
    ['vm/2', EVE],
    ['vm/2', `${ALICE}!other`],
    ['vm/2', `${EVE}!nightly`],
  ] as const) {
    await assert.rejects(rig.backup({ group, authId }), { code: 'not-owner' });
    const body = { kind: 'read', 'backup-type': 'vm', 'backup-id': group.slice(3), 'backup-times': [0] };
    await assert.rejects(rig.sessions.open(STORE, { authId, ownGroupsOnly: true }, body), { code: 'not-owner' });
    await assert.rejects(rig.sessions.open(STORE, { authId }, body), { code: 'not-found' });
  }
  const client = await rig.backup({ group: 'vm/2', authId: ALICE });
  const { manifest } = await client.commit(await client.putImage(['x']));
  assert.equal(manifest.server.owner, token, 'the group stays with the token');
  assert.equal((await rig.open.store.groups.state(ns, parseGroup('vm/2')))?.owner, token);
});

test('a session is there for who opened it, in its datastore, and for nobody else', async () => {
  await start();
  const client = await rig.backup();
  for (const [store, authId, id] of [
    [STORE, EVE, client.id],
    [STORE, `${ALICE}!token`, client.id],
    ['other', ALICE, client.id],
    [STORE, ALICE, '0'.repeat(32)],
  ] as const) {
    await assert.rejects(rig.sessions.describe(store, { authId }, id), { code: 'session-gone' });
    await assert.rejects(rig.sessions.end(store, { authId }, id), { code: 'session-gone' });
    await assert.rejects(rig.sessions.commit(store, { authId }, id, {}), { code: 'session-gone' });
  }
  await assert.rejects(rig.sessions.open('other', { authId: ALICE }, {}), { code: 'not-found' });
  await client.end();
  await assert.rejects(client.end(), { code: 'session-gone' });
});

test('what is asked is checked', async () => {
  await start();
  const group = { 'backup-type': 'vm', 'backup-id': '101' };
  for (const body of [
    undefined,
    null,
    {},
    { kind: 'sync', ...group },
    { kind: 'backup', ...group, 'backup-type': 'xx' },
    { kind: 'backup', ...group, 'backup-id': '../x' },
    { kind: 'backup', ...group, ns: '../x' },
    { kind: 'backup', ...group, fingerprint: 'x' },
    { kind: 'read', ...group },
    { kind: 'read', ...group, 'backup-times': [] },
    { kind: 'read', ...group, 'backup-times': Array(17).fill(1) },
  ])
    await assert.rejects(rig.sessions.open(STORE, { authId: ALICE }, body), { code: /bad-(argument|name)/ });
  const client = await rig.backup();
  const image = await client.putImage(['a']);
  const part = clientPart(image.list.id, image.sizeBytes);
  const [archive] = part.archives;
  const nowhere = { ...archive!, root: randomBytes(32).toString('hex') };
  for (const [wrong, code] of [
    [{ ...part, backup: 'vm/102' }, 'bad-argument'],
    [{ ...part, archives: [archive, archive] }, 'bad-argument'],
    [{ ...part, archives: [{ ...archive, name: '../x.img' }] }, 'bad-name'],
    [{ ...part, archives: [{ ...archive, kind: 'tree' }] }, 'bad-argument'],
    [{ ...part, archives: [nowhere] }, 'out-of-scope'],
    [{ ...part, key: '0'.repeat(64) }, 'bad-argument'],
    [{ ...part, more: 'x'.repeat(1 << 20) }, 'too-large'],
    [{ ...part, archives: undefined }, 'bad-argument'],
  ] as const)
    await assert.rejects(rig.sessions.commit(STORE, { authId: ALICE }, client.id, { client: wrong }), { code });
  await assert.rejects(rig.sessions.commit(STORE, { authId: ALICE }, client.id, { client: part, time: -1 }));
  assert.equal((await client.commit(image)).manifest.client.backup, 'vm/101');
});

test('sessions are bounded for each user and in all; those that have made their snapshot do not count', async () => {
  await start({ sessions: { maxSessions: 3, maxSessionsOfUser: 2 } });
  const open = (n: number, authId: string) => rig.backup({ group: `vm/${n}`, authId });
  const outcomes = await Promise.allSettled([open(1, ALICE), open(2, `${ALICE}!t`), open(3, ALICE)]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected'],
  );
  await open(4, EVE);
  await assert.rejects(open(5, EVE), { code: 'too-many' });
  const first = (outcomes[0] as PromiseFulfilledResult<Client>).value;
  await first.commit(await first.putImage(['a']));
  await open(6, EVE);
  assert.equal(rig.sessions.count, 3);
});

test('an idle session ends by itself, and what it put is adopted', async () => {
  await start({ sessions: { idleSeconds: 2 } });
  const client = await rig.backup();
  await client.putImage(['a', 'b']);
  for (let n = 0; n < 6; n++) {
    await setTimeout(500);
    await client.have(randomBytes(32));
  }
  while (rig.sessions.count > 0) await setTimeout(100);
  assert.equal((await client.bulk('have', randomBytes(32))).json.code, 'session-gone');
  assert.equal((await rig.backup()).opened['adopted-objects'], 4);
});

test('a session that is still ending is waited for by the next one of its group', async () => {
  await start();
  const client = await rig.backup();
  await client.putImage(['a', 'b']);
  const ending = client.end();
  assert.equal((await rig.backup()).opened['adopted-objects'], 4);
  await ending;
});

test('a session that its client lost makes way for the next one of the same group', async () => {
  await start({ sessions: { abandonedSeconds: 3 } });
  const client = await rig.backup();
  await client.putImage(['a', 'b']);
  const other = await rig.backup({ group: 'vm/102' });
  rig.agent.destroy();
  await setTimeout(200);
  const soon = await rig.backup();
  assert.equal(soon.opened['adopted-objects'], 0, 'a moment ago it may only have been slow');
  await soon.end();
  await setTimeout(4000);
  assert.equal((await rig.backup()).opened['adopted-objects'], 4);
  await assert.rejects(client.counters(), { code: 'session-gone' });
  assert.deepEqual(await other.counters(), [0, 0, 0]);
});

test('what a reader has opened stays until it ends, also when it is forgotten and garbage is collected', async () => {
  await start();
  const { time } = await committed();
  const reader = await rig.read([time]);
  const part = reader.opened.manifests![0]!.client;
  const root = Buffer.from(part.archives[0]!.root, 'hex');
  await rig.open.store.forget({ ns, group: parseGroup('vm/101'), time });
  const collect = () =>
    collectGarbage.run(rig.open.store, { dryRun: false, audit: true, rateLimitBytes: null }, SILENT);
  await collect();
  const [list] = await reader.get(root);
  assert.ok(list !== undefined);
  const page = list.subarray(56, 88);
  const [pageRecord] = await reader.get(page);
  assert.ok(pageRecord !== undefined);
  assert.ok((await reader.get(pageRecord.subarray(56, 88)))[0] !== undefined);
  await reader.end();
  await collect();
  assert.equal(rig.open.store.source.locator.copies(0, root).length, 0);
});

test('a reader that garbage collection moves packs under goes on reading', async () => {
  await start();
  const keep = [randomBytes(60_000), randomBytes(60_000)];
  const waste = await rig.backup({ group: 'vm/102' });
  const client = await rig.backup();
  const image = makeImage(keep);
  await client.put(...Array.from({ length: 20 }, () => randomRecord(60_000)), ...image.all);
  const { manifest } = await client.commit(image);
  await waste.end();
  const reader = await rig.read([manifest.server.time]);
  await reader.get(image.list.id, image.page.id);
  const report = await collectGarbage.run(rig.open.store, { dryRun: false, audit: true, rateLimitBytes: null }, SILENT);
  assert.ok(report.packsRewritten > 0, JSON.stringify(report));
  const chunks = await reader.get(...image.chunks.map(({ id }) => id));
  assert.deepEqual(
    chunks,
    image.chunks.map(({ record }) => record),
  );
});

test('a server that ends refuses sessions, ends those that are open, and keeps what they put', async () => {
  const rig1 = await Rig.start();
  rig = rig1;
  const client = await rig.backup();
  const image = await client.putImage(['a', 'b']);
  await rig.sessions.close();
  await assert.rejects(rig.backup(), { code: 'aborted' });
  assert.equal((await client.bulk('have', image.list.id)).json.code, 'session-gone');
  assert.equal(rig.open.store.unfinishedSessions.length, 1);
});
