// Jobs on a real datastore: what they keep, free and read, and what they say when it is not there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { storeKinds } from '../../../src/daemon/jobs/store-kinds.ts';
import type { Job } from '../../../src/jobs/schedule/job.ts';
import { USUAL } from '../../../src/jobs/schedule/job.ts';
import type { TaskWork } from '../../../src/jobs/tasks/task.ts';
import { formatTime, namespaceDepth, parseGroup, parseNamespace } from '../../../src/schema/names.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import {
  clientPart,
  commitImage,
  createTemporaryStore,
  NO_SIGNAL,
  OpenStore,
  putWholeImage,
} from '../../support/store.ts';

function workOf(lines: string[]): TaskWork {
  const nothing = (): void => undefined;
  const log = (text: string): void => void lines.push(text);
  return { upid: 'x', signal: new AbortController().signal, log, warn: log, progress: nothing, onProgress: nothing };
}

test('prune keeps what its rules keep, gc frees the rest, verify reads what is left', async (t) => {
  const place = await createTemporaryStore();
  const open = await OpenStore.open(place.root, 1);
  t.after(async () => {
    await open.close();
    await place.remove();
  });
  for (let n = 0; n < 4; n++) await commitImage(open, [`content ${n}`], 'vm/101', 'owner@pbs');
  const kinds = new Map(
    storeKinds({ get: async (name) => ({ name, store: open.store }) }).map((kind) => [kind.name, kind]),
  );
  const times = async () => await open.store.groups.times(parseNamespace(''), parseGroup('vm/101'));
  const before = await times();
  assert.equal(before.length, 4);
  const lines: string[] = [];
  const run = async (name: string, more: object): Promise<unknown> => {
    const kind = kinds.get(name);
    assert.ok(kind !== undefined);
    const options = kind.check({ store: 'main', ...more });
    const job: Job = { kind: name, id: 'nightly', schedule: null, enabled: true, comment: '', options, ...USUAL };
    assert.deepEqual(kind.claims(options), ['datastore:main']);
    return await kind.run({ job, authId: 'root@pam', nowMs: Date.now() }, workOf(lines));
  };
  await run('prune', {});
  assert.equal((await times()).length, 4, 'without rules everything stays');
  assert.match(lines.join('\n'), /no keep rule/);
  await run('prune', { ns: '', 'max-depth': 0, 'keep-last': 1 });
  assert.deepEqual(await times(), [Math.max(...before)]);
  const { result } = (await run('gc', {})) as { result: { objectsLive: number } };
  assert.ok(result.objectsLive > 0);
  lines.length = 0;
  await run('verify', { 'ignore-verified': false });
  assert.match(lines.join('\n'), /verify datastore\n.*[1-9]\d* packs read/);
  lines.length = 0;
  await run('verify', { 'max-depth': 0, 'outdated-after': 30 });
  assert.match(lines.join('\n'), /vm\/101/);
});

test('a prune job touches its namespace, and those below it as deep as it says', async (t) => {
  const place = await createTemporaryStore();
  const open = await OpenStore.open(place.root, 1);
  t.after(async () => {
    await open.close();
    await place.remove();
  });
  const [group, all] = [parseGroup('vm/101'), ['', 'a', 'a/b', 'c'].map(parseNamespace)];
  for (const ns of all) {
    if (namespaceDepth(ns) > 0) await open.store.groups.createNamespace(ns);
    for (const content of ['one', 'two']) {
      const session = await open.store.openSession({
        ns,
        group,
        owner: 'root@pam',
        compressionLevel: 1,
        key: undefined,
      });
      const { root, sizeBytes } = await putWholeImage(open, session, [content]);
      await session.commit(clientPart(root, sizeBytes), undefined, NO_SIGNAL);
    }
  }
  const [prune] = storeKinds({ get: async (name) => ({ name, store: open.store }) });
  assert.ok(prune !== undefined);
  const counts = async (more: object): Promise<number[]> => {
    const options = prune.check({ store: 'main', 'keep-last': 1, ...more });
    const job: Job = { kind: 'prune', id: 'x', schedule: null, enabled: true, comment: '', options, ...USUAL };
    await prune.run({ job, authId: 'root@pam', nowMs: Date.now() }, workOf([]));
    return await Promise.all(all.map(async (ns) => (await open.store.groups.times(ns, group)).length));
  };
  assert.deepEqual(await counts({ 'max-depth': 0 }), [1, 2, 2, 2]);
  assert.deepEqual(await counts({ ns: 'a', 'max-depth': 0 }), [1, 1, 2, 2]);
  assert.deepEqual(await counts({ ns: 'a' }), [1, 1, 1, 2]);
  assert.deepEqual(await counts({}), [1, 1, 1, 1]);
});

test('a prune job of some groups leaves the others, warns of those that are not there, and says what becomes of each snapshot', async (t) => {
  const place = await createTemporaryStore();
  const open = await OpenStore.open(place.root, 1);
  t.after(async () => {
    await open.close();
    await place.remove();
  });
  for (const group of ['vm/1', 'vm/2', 'ct/3'])
    for (const content of ['one', 'two', 'three']) await commitImage(open, [`${group} ${content}`], group);
  const [prune] = storeKinds({ get: async (name) => ({ name, store: open.store }) });
  assert.ok(prune !== undefined);
  const options = prune.check({ store: 'main', 'keep-last': 1, groups: ['vm/2', 'ct/3', 'vm/9', 'vm/2', 'vm/10'] });
  const job: Job = { kind: 'prune', id: 'x', schedule: null, enabled: true, comment: '', options, ...USUAL };
  const [lines, warnings]: [string[], string[]] = [[], []];
  const work = { ...workOf(lines), warn: (text: string): void => void warnings.push(text) };
  const before = await open.store.groups.times(parseNamespace(''), parseGroup('ct/3'));
  await prune.run({ job, authId: 'root@pam', nowMs: Date.now() }, work);
  const left = async (group: string): Promise<number> =>
    (await open.store.groups.times(parseNamespace(''), parseGroup(group))).length;
  assert.deepEqual([await left('vm/1'), await left('vm/2'), await left('ct/3')], [3, 1, 1]);
  assert.deepEqual(
    warnings,
    ['vm/9', 'vm/10'].map((group) => `there is no group ${group}: nothing of it is pruned`),
  );
  const labels = before.map((time) => `ct/3/${formatTime(time)}`);
  const at = lines.indexOf('ct/3: of 3 snapshots 2 go');
  assert.deepEqual(lines.slice(at + 1, at + 5), [
    `  remove ${labels[0]} (beyond the 1 newest of keep-last)`,
    `  remove ${labels[1]} (beyond the 1 newest of keep-last)`,
    `  keep ${labels[2]} (keep-last 1 of 1: the newest)`,
    'removed 2 snapshots of ct/3, 1 stay',
  ]);
  assert.equal(lines.at(-1), 'in all: 2 groups, removed 4 snapshots, 2 stay');
  const others = prune.check({ store: 'main', 'keep-last': 2, 'exclude-groups': ['vm/9', 'ct/3', 'vm/2'] });
  warnings.length = 0;
  await prune.run({ job: { ...job, options: others }, authId: 'root@pam', nowMs: Date.now() }, work);
  assert.deepEqual([await left('vm/1'), await left('vm/2'), await left('ct/3'), warnings.length], [2, 1, 1, 0]);
  assert.equal(lines.at(-1), 'in all: 1 groups, removed 1 snapshots, 2 stay');
});

test('options that a kind does not have, or cannot be, are refused by name; a datastore that is gone is said', async () => {
  const gone = new HoldfastError('not-found', 'there is no datastore "main"');
  const [prune, gc, verify] = storeKinds({ get: () => Promise.reject(gone) });
  assert.throws(() => prune?.check({ store: 'main', 'keep-last': 0 }), { code: 'bad-argument', message: /keep-last/ });
  for (const groups of [[], 'vm/1', [7], Array.from({ length: 1001 }, (_, id) => `vm/${id}`)])
    assert.throws(() => prune?.check({ store: 'main', groups }), { code: 'bad-argument', message: /groups/ });
  for (const name of ['groups', 'exclude-groups'])
    assert.throws(() => prune?.check({ store: 'main', [name]: ['vm/1', 'vm'] }), { code: 'bad-name' });
  const both = { store: 'main', groups: ['vm/1'], 'exclude-groups': ['vm/2'] };
  assert.throws(() => prune?.check(both), { code: 'bad-argument', message: /not both/ });
  assert.throws(() => gc?.check({ store: 'main', ns: 'a' }), { code: 'bad-argument' });
  assert.throws(() => gc?.check({ store: '../x' }), { code: 'bad-argument', message: /store/ });
  assert.throws(() => verify?.check(null), { code: 'bad-argument' });
  assert.throws(() => verify?.check({ store: 'main', ns: 'x'.repeat(200) }), { code: 'bad-name' });
  const job: Job = {
    kind: 'gc',
    id: 'x',
    schedule: null,
    enabled: true,
    comment: '',
    options: { store: 'main' },
    ...USUAL,
  };
  await assert.rejects(async () => await gc?.run({ job, authId: 'root@pam', nowMs: 0 }, workOf([])), gone);
});
