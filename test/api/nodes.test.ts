// Nodes and orders through the API: what is shown, what an order needs, and what reaches the node.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { commitImage } from '../support/store.ts';
import { AGENT } from './fake-nodes.ts';
import { ApiRig } from './rig.ts';

const rig = new ApiRig();
const BACKUP = { store: 'store1', group: 'host/web1', archives: ['root.tree:/'] };
const RESTORE = { store: 'store1', snapshot: 'vm/101/latest', archive: 'disk0.img', target: '/back/disk' };

before(async () => {
  const open = await rig.store('store1');
  await commitImage(open, ['content'], 'vm/101', 'owner@pbs');
  // Of nodes `Sys.Modify` is in no role but Admin.
  rig.access.grant('both@pbs', { '/system/nodes/web1': 'Admin', '/datastore/store1': 'DatastoreAdmin' });
  rig.access.grant('node@pbs', { '/system/nodes/web1': 'Admin' });
  rig.access.grant('store@pbs', { '/datastore/store1': 'DatastoreAdmin' });
  rig.access.grant('owner@pbs', { '/system/nodes/web1': 'Admin', '/datastore/store1': 'DatastoreBackup' });
  rig.access.grant('other@pbs', { '/system/nodes/web1': 'Admin', '/datastore/store1': 'DatastoreBackup' });
  rig.access.grant('audit@pbs', { '/system/nodes/web1': 'Audit' });
});
after(() => rig.close());

test('a node is shown with what was last heard of it, to whoever may look at it', async () => {
  const { json } = await rig.call('audit@pbs', 'GET', '/config/node/web1');
  assert.deepEqual(json.data, {
    name: 'web1',
    status: 'online',
    'auth-id': AGENT,
    version: '0.1',
    'host-name': 'web1.example',
    'machine-id': 'ab'.repeat(32),
    address: '192.0.2.7',
    enrolled: 1_700_000_000,
    'last-contact': 1_700_000_100,
    orders: 0,
  });
  assert.deepEqual((await rig.call('audit@pbs', 'GET', '/config/node')).json.data, [json.data]);
  assert.deepEqual((await rig.call('store@pbs', 'GET', '/config/node')).json.data, []);
  assert.deepEqual((await rig.call('root@pam', 'GET', '/nodes')).json.data, [
    { node: 'node1', status: 'online', version: '1.0' },
    { node: 'web1', status: 'online', version: '0.1', 'last-contact': 1_700_000_100, address: '192.0.2.7' },
  ]);
});

test('an order needs the node and the datastore, a restore what reading there would need', async () => {
  const statuses = async (kind: string, body: object): Promise<Record<string, number>> => {
    const callers = ['both@pbs', 'node@pbs', 'store@pbs', 'owner@pbs', 'other@pbs', 'audit@pbs'];
    const all = callers.map(async (caller) => {
      const { status } = await rig.call(caller, 'POST', `/nodes/web1/${kind}`, { ...body });
      return [caller.split('@')[0], status] as const;
    });
    return Object.fromEntries(await Promise.all(all));
  };
  const refused = { node: 403, store: 403, audit: 403 };
  assert.deepEqual(await statuses('backup', BACKUP), { both: 200, owner: 200, other: 200, ...refused });
  assert.deepEqual(await statuses('restore', RESTORE), { both: 200, owner: 200, other: 403, ...refused });
  const inNamespace = await rig.call('both@pbs', 'POST', '/nodes/web1/backup', { ...BACKUP, store: 'store2' });
  assert.equal(inNamespace.status, 403);
});

test('an order reaches the node as it was given, and answers its task', async () => {
  const more = { exclude: ['*.tmp'], 'compression-level': 3, 'all-file-systems': true };
  const { json } = await rig.call('both@pbs', 'POST', '/nodes/web1/backup', { ...BACKUP, ...more });
  assert.match(String(json.data), /^UPID:node1:.*:agentbackup:web1:both@pbs:$/);
  assert.deepEqual(rig.nodes.asked.at(-1)?.argument, { name: 'web1', order: { kind: 'backup', ...BACKUP, ...more } });
});

test('orders that name what no order can are refused before anybody is asked', async () => {
  const asked = rig.nodes.asked.length;
  const wrong: [string, object][] = [
    ['backup', { ...BACKUP, group: 'web1' }],
    ['backup', { ...BACKUP, archives: [] }],
    ['backup', { ...BACKUP, archives: ['root.tree:/a\nb'] }],
    ['backup', { ...BACKUP, command: 'reboot' }],
    ['backup', { ...BACKUP, kind: 'restore' }],
    ['restore', { ...RESTORE, target: 'relative' }],
    ['restore', { ...RESTORE, snapshot: 'vm/101' }],
    ['restore', { ...RESTORE, archive: '../x.img' }],
  ];
  for (const [kind, body] of wrong) {
    const { status } = await rig.call('root@pam', 'POST', `/nodes/web1/${kind}`, { ...body });
    assert.equal(status, 400, JSON.stringify(body));
  }
  assert.equal(rig.nodes.asked.length, asked);
});

test('an enrolment is made with what is needed to use it, and used without a login', async () => {
  const made = await rig.call('node@pbs', 'POST', '/config/node', { name: 'web1', renew: true, lifetime: 60 });
  assert.deepEqual(made.json.data, {
    name: 'web1',
    'auth-id': AGENT,
    secret: 'one-time',
    expire: 1_800_000_000,
    fingerprint: 'ab:'.repeat(31).concat('ab'),
  });
  const machine = { 'machine-id': 'cd'.repeat(32), 'host-name': 'web1' };
  const used = await rig.call(undefined, 'POST', '/nodes/web1/enrolment', { secret: 'one-time', ...machine });
  assert.deepEqual(used.json.data, { 'auth-id': AGENT, secret: 'token-secret' });
  const wrong = await rig.call(undefined, 'POST', '/nodes/web1/enrolment', { secret: 'other', ...machine });
  assert.equal(wrong.status, 401);
});
