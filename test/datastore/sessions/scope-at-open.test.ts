// What a session has in scope when it opens: found without listing anew what did not change, and empty only where nothing is in it.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { utimesSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { type DataKey, deriveDataKey } from '../../../src/chunker/data-key.ts';
import type { ObjectId } from '../../../src/chunker/object.ts';
import type { BackupSession } from '../../../src/datastore/sessions/backup-session.ts';
import { type GroupName, parseGroup, parseNamespace } from '../../../src/schema/names.ts';
import { commitImage, createTemporaryStore, OpenStore, putData, putImage, putWholeImage } from '../../support/store.ts';

const ALICE = 'alice@pbs';
const TOKEN = 'alice@pbs!nightly';
const EVE = 'eve@pbs';
const ns = parseNamespace('');

async function openStore(t: TestContext): Promise<OpenStore> {
  const { root, remove } = await createTemporaryStore();
  t.after(remove);
  const open = await OpenStore.open(root, 1);
  t.after(() => open.close());
  return open;
}

/** As if nothing had changed in these groups for long. */
function age({ store }: OpenStore, ...groups: string[]): void {
  const longAgo = new Date(Date.now() - 3_600_000);
  for (const group of groups) utimesSync(store.groups.groupPath(ns, parseGroup(group)), longAgo, longAgo);
}

/** Of all objects that the store has, those that the session may name. */
async function inScope({ store, pool }: OpenStore, session: BackupSession): Promise<number> {
  const ids = [...store.index.entries()]
    .filter((entry) => store.index.space(entry) === session.space)
    .map((entry) => Buffer.from(store.index.id(entry)) as ObjectId);
  const known = await pool.call<boolean[]>(0, 'store.have', { session: session.id, ids });
  return known.filter(Boolean).length;
}

async function check(open: OpenStore, group: string, owner: string, isEmpty: boolean, key?: DataKey): Promise<void> {
  const session = await open.session(group, owner, key);
  assert.equal(session.scopeIsEmpty, isEmpty, `${group} of ${owner}`);
  if (isEmpty) assert.equal(await inScope(open, session), 0, `what ${owner} may name without a question`);
  await session.suspend();
}

test('groups that did not change are listed for the first session only, and each change is seen by the next', async (t) => {
  const open = await openStore(t);
  const { groups } = open.store;
  const made = await commitImage(open, ['of group 1'], 'vm/1');
  await commitImage(open, ['of group 2'], 'vm/2');
  age(open, 'vm/1', 'vm/2');
  const listed: GroupName[] = [];
  const labels = groups.labels.bind(groups);
  groups.labels = async (of, group) => {
    listed.push(group);
    return await labels(of, group);
  };
  const sees = async (root: ObjectId): Promise<boolean> => {
    const session = await open.session('vm/9');
    const [known] = await open.pool.call<boolean[]>(0, 'store.have', { session: session.id, ids: [root] });
    await session.suspend();
    return known as boolean;
  };
  assert.equal(await sees(made.root), true);
  listed.length = 0;
  assert.equal(await sees(made.root), true);
  assert.deepEqual(
    listed.filter((group) => group !== 'vm/9'),
    [],
  );
  const later = await commitImage(open, ['later, of group 1'], 'vm/1');
  assert.equal(await sees(later.root), true, 'a commit');
  age(open, 'vm/1');
  assert.equal(await sees(later.root), true);
  await open.store.keeping.changeGroup(ns, parseGroup('vm/1'), { owner: EVE });
  assert.equal(await sees(later.root), false, 'another owner');
  age(open, 'vm/1');
  assert.equal(await sees(later.root), false);
  await open.store.keeping.changeGroup(ns, parseGroup('vm/1'), { owner: made.manifest.server.owner });
  assert.equal(await sees(made.root), true);
  await open.store.forget(made.name);
  assert.equal(await sees(made.root), false, 'a forget');
});

test('S3: a forget leaves the scope of sessions that are open, also of the third newest and of another group', async (t) => {
  const open = await openStore(t);
  const elsewhere = await commitImage(open, ['of group 2'], 'vm/2');
  const third = await commitImage(open, ['the third newest'], 'vm/1');
  for (const text of ['a', 'b']) await commitImage(open, [text], 'vm/1');
  const session = await open.session('vm/1');
  for (const { name } of [elsewhere, third]) await open.store.forget(name);
  const ids = [elsewhere.root, third.root];
  assert.deepEqual(await open.pool.call(0, 'store.have', { session: session.id, ids }), [true, true]);
  await session.suspend();
  const next = await open.session('vm/1');
  assert.deepEqual(await open.pool.call(0, 'store.have', { session: next.id, ids }), [false, false]);
  await next.suspend();
});

test('a scope is empty for an owner without snapshots, and for one whose last was forgotten before', async (t) => {
  const open = await openStore(t);
  const { name } = await commitImage(open, ['of alice'], 'vm/1', ALICE);
  await check(open, 'vm/2', EVE, true);
  await check(open, 'vm/2', ALICE, false);
  await open.store.forget(name);
  await check(open, 'vm/1', ALICE, true);
  await check(open, 'vm/2', ALICE, true);
});

test('a scope that was not empty stays so when all of it is forgotten meanwhile', async (t) => {
  const open = await openStore(t);
  const { name, root } = await commitImage(open, ['of alice'], 'vm/1', ALICE);
  for (const group of ['vm/1', 'vm/2']) {
    const session = await open.session(group, ALICE);
    if (group === 'vm/2') await open.store.forget(name);
    assert.equal(session.scopeIsEmpty, false);
    assert.deepEqual(await open.pool.call(0, 'store.have', { session: session.id, ids: [root] }), [true]);
    await session.suspend();
  }
});

test('what is adopted is in scope, and what is not adopted is not', async (t) => {
  const open = await openStore(t);
  const session = await open.session('vm/1', ALICE);
  await putData(open, session, 'left behind');
  await session.suspend();
  await check(open, 'vm/1', EVE, true);
  await check(open, 'vm/2', ALICE, true);
  await check(open, 'vm/1', ALICE, false);
});

test('user and token are owners of their own; a group that changes hands takes its scope along', async (t) => {
  const open = await openStore(t);
  await commitImage(open, ['of the token'], 'vm/1', TOKEN);
  await check(open, 'vm/2', ALICE, true);
  await check(open, 'vm/2', TOKEN, false);
  await open.store.keeping.changeGroup(ns, parseGroup('vm/1'), { owner: ALICE });
  await check(open, 'vm/2', TOKEN, true);
  await check(open, 'vm/2', ALICE, false);
});

test('a scope of which too little is known does not count as empty', async (t) => {
  const open = await openStore(t);
  const { name } = await commitImage(open, ['of alice'], 'vm/1', ALICE);
  // With another key: nothing of it is in scope, and only its manifest tells so.
  await check(open, 'vm/2', ALICE, false, deriveDataKey(randomBytes(32)));
  writeFileSync(open.store.groups.manifestPath(name), '{}');
  await check(open, 'vm/1', ALICE, false);
});

test('who puts what is in scope without asking, or names what is not, changes no more than who asks', async (t) => {
  const open = await openStore(t);
  const theirs = await commitImage(open, ['both have this'], 'vm/1', ALICE);
  // A client that was wrongly told that its scope is empty.
  const alice = await open.session('vm/2', ALICE);
  const { root } = await putWholeImage(open, alice, ['both have this']);
  assert.deepEqual(root, theirs.root);
  assert.equal((await alice.counters()).objectsNew, 0);
  await alice.suspend();
  // One that was not told so, and believes what it remembers.
  const eve = await open.session('vm/3', EVE);
  assert.equal(eve.scopeIsEmpty, true);
  await assert.rejects(putImage(eve, theirs.root, 14), { code: 'out-of-scope' });
  await assert.rejects(putImage(eve, randomBytes(32) as ObjectId, 14), { code: 'out-of-scope' });
  await eve.suspend();
});
