// Who may do what at a server, with the real programs: what is somebody else's answers like what is not there, and a token may not do more than
// it was given.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { pattern } from '../agent/nbd/servers.ts';
import { type BackupJson, listed } from '../cli/holdfast.ts';
import { type Account, type ServerRig, STORE, startRig } from '../support/server/server-rig.ts';

const MIB = 1024 * 1024;
const HERS = 'vm/101/2026-11-01T00:00:00Z';
/** As hers in all but that it is not there. */
const NOWHERE = 'vm/999/2026-11-01T00:00:00Z';
const ended: (() => void)[] = [];
let rig: ServerRig;
let alice: Account;
let eve: Account;

before(async () => {
  rig = await startRig({ after: (end) => void ended.unshift(end) });
  alice = await rig.newcomer('alice', 'DatastorePowerUser');
  eve = await rig.newcomer('eve', 'DatastorePowerUser');
  writeFileSync(rig.path('disk'), pattern(MIB, 1));
  writeFileSync(rig.path('conf'), 'secret\n');
  for (const time of ['2026-11-01T00:00:00Z', '2026-11-02T00:00:00Z'])
    await alice.run('backup', '--group', 'vm/101', ...archives(), '--time', time);
});
after(() => {
  for (const end of ended) end();
});

const archives = (): string[] => [`disk0.img:${rig.path('disk')}`, `vm.conf:${rig.path('conf')}`];

test("another owner's snapshots are not seen, and nothing tells them from what is not there", async () => {
  assert.deepEqual(await listed(eve), []);
  assert.equal((await listed(alice)).length, 2);
  const commands: ((snapshot: string) => string[])[] = [
    (snapshot) => ['snapshot', 'show', snapshot],
    (snapshot) => ['restore', snapshot, 'disk0.img', '-'],
    (snapshot) => ['snapshot', 'files', snapshot, 'root.tree'],
    (snapshot) => ['snapshot', 'diff', snapshot, snapshot.replace('-01T', '-02T'), 'disk0.img'],
    (snapshot) => ['snapshot', 'forget', snapshot],
    (snapshot) => ['snapshot', 'protect', snapshot],
    (snapshot) => ['snapshot', 'note', snapshot, 'mine'],
  ];
  for (const command of commands) {
    const [hers, nowhere] = await Promise.all([HERS, NOWHERE].map((name) => eve.fails('not-found', ...command(name))));
    assert.equal(hers?.replaceAll('vm/101', 'X'), nowhere?.replaceAll('vm/999', 'X'), command(HERS).join(' '));
  }
  assert.equal((await listed(alice)).length, 2);
});

test('calls that no command makes say no more: sessions, operations and lists of the API', async () => {
  const { caller } = rig.admin;
  const headers = {
    authorization: `PBSAPIToken=${eve.authId}:${eve.secret}`,
    accept: 'application/vnd.holdfast.error+json',
  };
  const path = `/admin/datastore/${STORE}`;
  const time = Date.parse('2026-11-01T00:00:00Z') / 1000;
  const answers = async (id: string): Promise<string[]> => {
    const name = { ns: '', group: `vm/${id}`, time };
    const group = { 'backup-type': 'vm', 'backup-id': id };
    const query = `backup-type=vm&backup-id=${id}&backup-time=${time}`;
    const calls = [
      await caller.try('POST', `${path}/sessions`, { kind: 'read', ...group, 'backup-times': [time] }, headers),
      await caller.try('POST', `${path}/operation/forget`, { argument: name }, headers),
      await caller.try('POST', `${path}/query/findSnapshot`, { argument: name }, headers),
      await caller.try('GET', `${path}/files?${query}`, undefined, headers),
      await caller.try('GET', `${path}/notes?${query}`, undefined, headers),
      await caller.try('DELETE', `${path}/snapshots?${query}`, undefined, headers),
      await caller.try('GET', `${path}/snapshots?backup-type=vm&backup-id=${id}`, undefined, headers),
    ];
    return calls.map(({ status, text }) => `${status} ${text.replaceAll(`vm/${id}`, 'X')}`);
  };
  assert.deepEqual(await answers('101'), await answers('999'));
  const snapshots = await caller.try('GET', `${path}/snapshots`, undefined, headers);
  assert.deepEqual((JSON.parse(snapshots.text) as { data: unknown[] }).data, []);
});

test('a group that somebody else owns takes no backup, and names its owner to nobody', async () => {
  const message = await eve.fails('not-owner', 'backup', '--group', 'vm/101', ...archives());
  assert.doesNotMatch(message, /alice/);
  assert.equal((await listed(alice)).length, 2);
});

test('what was stored by others is sent again: nobody learns what they have', async () => {
  const { bytesNew, objectsNew } = await eve.json<BackupJson>('backup', '--group', 'vm/500', ...archives());
  assert.ok(bytesNew >= MIB && objectsNew > 3, `${bytesNew} bytes in ${objectsNew} objects are new to eve`);
  await eve.run('restore', 'vm/500/latest', 'disk0.img', rig.path('eve.img'));
});

test('a token has what it was given, and never more than its user', async () => {
  await rig.user('bob', 'DatastoreAdmin');
  const bare = await rig.token('bob', 'bare', undefined);
  const reader = await rig.token('bob', 'reader', 'DatastoreReader');
  const writer = await rig.token('bob', 'writer', 'DatastoreBackup');
  await bare.fails('permission-denied', 'snapshot', 'list');
  await bare.fails('permission-denied', 'backup', '--group', 'vm/7', ...archives());
  assert.equal((await listed(reader, 'vm/101')).length, 2);
  await reader.run('restore', HERS, 'vm.conf', rig.path('read.conf'));
  assert.match(
    await reader.fails('permission-denied', 'backup', '--group', 'vm/7', ...archives()),
    /Datastore\.Backup/,
  );
  await reader.fails('permission-denied', 'snapshot', 'forget', HERS);
  await writer.run('backup', '--group', 'vm/7', ...archives());
  await writer.run('restore', 'vm/7/latest', 'vm.conf', rig.path('written.conf'));
  await writer.fails('permission-denied', 'snapshot', 'forget', 'vm/7/latest');
  await writer.fails('permission-denied', 'prune', '--group', 'vm/7', '--keep-last', '0', '--force-empty');

  await rig.user('carol', 'DatastoreReader');
  const more = await rig.token('carol', 'more', 'DatastoreAdmin');
  assert.equal((await listed(more, 'vm/101')).length, 2);
  await more.fails('permission-denied', 'backup', '--group', 'vm/8', ...archives());
  await more.fails('permission-denied', 'snapshot', 'forget', HERS);
});

test('work on all of a datastore is refused to who may not: gc, verify, lock', async () => {
  for (const args of [
    ['datastore', 'gc'],
    ['datastore', 'gc', '--dry-run'],
    ['datastore', 'verify'],
    ['datastore', 'account'],
    ['snapshot', 'lock', HERS, '--for', '1d'],
  ])
    assert.match(await alice.fails('permission-denied', ...args), /permission/, args.join(' '));
  const verifier = await rig.newcomer('dave', 'DatastoreReader');
  await verifier.run('datastore', 'verify');
  await verifier.fails('permission-denied', 'datastore', 'gc');
});

test('users may do to what their tokens own what they may; a token not what another of its user owns', async () => {
  const user = rig.account('alice@local');
  assert.deepEqual(await listed(user), await listed(alice));
  await user.run('snapshot', 'note', HERS, 'from the user');
  const other = await rig.token('alice', 'other', 'DatastorePowerUser');
  assert.deepEqual(await listed(other), []);
  await other.fails('not-found', 'snapshot', 'show', HERS);
  await user.run('snapshot', 'forget', HERS);
  assert.deepEqual(await listed(alice), ['vm/101/2026-11-02T00:00:00Z']);
});

test('a token that is withdrawn, or whose right is, ends at the next command', async () => {
  const guest = await rig.newcomer('guest', 'DatastoreBackup');
  await guest.run('backup', '--group', 'vm/9', ...archives());
  const right = { path: `/datastore/${STORE}`, role: 'DatastoreBackup', 'auth-id': guest.authId, delete: true };
  await rig.admin.call('PUT', '/access/acl', right);
  await guest.fails('permission-denied', 'backup', '--group', 'vm/9', ...archives());
  await rig.admin.call('DELETE', '/access/users/guest@local/token/ci');
  await guest.fails('not-authenticated', 'snapshot', 'list');
});
