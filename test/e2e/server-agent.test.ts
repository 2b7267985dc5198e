// A server and agents as processes: enrolment, orders as tasks, and what happens to them when a line is cut, an agent or a server is killed, a
// token is taken away, or a host is copied.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { holdfast, messageOf } from '../cli/holdfast.ts';
import { AgentProcess } from '../support/server/agent-process.ts';
import { type ServerRig, STORE, startRig } from '../support/server/server-rig.ts';
import { TcpProxy } from '../support/server/tcp-proxy.ts';

const USER = 'agents@local';
const DISK_BYTES = 8 * 1024 * 1024;
/** So slow that a disk takes many seconds. */
const SLOW = { 'limit-upload': 1 };

interface Enrolment {
  readonly 'auth-id': string;
  readonly secret: string;
  readonly fingerprint: string;
}
interface Status {
  readonly status: string;
  readonly exitstatus?: string;
  readonly progress?: { readonly what: string; readonly bytesDone: number; readonly bytesTotal?: number };
}
interface NodeRow {
  readonly name: string;
  readonly status: string;
  readonly version?: string;
  readonly address?: string;
  readonly 'last-contact'?: number;
  readonly 'machine-id'?: string;
}

async function makeUser(rig: ServerRig): Promise<void> {
  await rig.admin.makeUser(USER, 'correct horse battery');
  await rig.admin.allow(USER, `/datastore/${STORE}`, 'DatastorePowerUser');
}

async function addNode(rig: ServerRig, name: string, more: object = {}): Promise<Enrolment> {
  return await rig.admin.call<Enrolment>('POST', '/config/node', { name, user: USER, ...more });
}

/** Runs `holdfast agent enroll` with the secret on standard input. */
function enroll(rig: ServerRig, name: string, made: Enrolment, state: string, ...more: string[]) {
  const place = [
    '--server',
    `${rig.server.host}:${rig.server.port}`,
    '--node',
    name,
    '--fingerprint',
    made.fingerprint,
  ];
  const args = [
    'agent',
    'enroll',
    ...place,
    '--state',
    state,
    '--secret-file',
    '-',
    '--output-format',
    'json',
    ...more,
  ];
  return holdfast(args, { stdin: Buffer.from(`${made.secret}\n`) });
}

/** A host that is enrolled, with rights of its token; its agent does not run yet. */
async function newHost(rig: ServerRig, t: { after(ended: () => void): void }, name: string, ...more: string[]) {
  const made = await addNode(rig, name);
  const state = rig.path(`state-${name}`);
  const ran = await enroll(rig, name, made, state, '--allow-restore', rig.path(`restored-${name}`), ...more);
  assert.equal(ran.code, 0, ran.stderr);
  await rig.admin.allow(made['auth-id'], `/datastore/${STORE}`, 'DatastorePowerUser');
  const disk = rig.path(`${name}.raw`);
  writeFileSync(disk, randomBytes(DISK_BYTES));
  return { agent: new AgentProcess(t, state), disk, group: `host/${name}`, state, authId: made['auth-id'] };
}

async function order(rig: ServerRig, name: string, kind: 'backup' | 'restore', members: object): Promise<string> {
  return await rig.admin.call<string>('POST', `/nodes/${name}/${kind}`, { store: STORE, ...members });
}

function taskPath(upid: string): string {
  return `/nodes/localhost/tasks/${encodeURIComponent(upid)}`;
}

async function statusOf(rig: ServerRig, upid: string): Promise<Status> {
  return await rig.admin.call<Status>('GET', `${taskPath(upid)}/status`);
}

/** Looks until it is as wanted. */
async function until<Value>(
  look: () => Promise<Value>,
  isThere: (value: Value) => boolean,
  ms = 60_000,
): Promise<Value> {
  const deadline = performance.now() + ms;
  for (;;) {
    const value = await look();
    if (isThere(value)) return value;
    assert.ok(performance.now() < deadline, `it does not come to it: ${JSON.stringify(value)}`);
    await sleep(50);
  }
}

async function underWay(rig: ServerRig, upid: string): Promise<Status> {
  return await until(
    () => statusOf(rig, upid),
    ({ status, progress }) => {
      assert.equal(status, 'running');
      return (progress?.bytesDone ?? 0) > 0;
    },
  );
}

async function endOf(rig: ServerRig, upid: string): Promise<string> {
  const { exitstatus } = await until(
    () => statusOf(rig, upid),
    ({ status }) => status !== 'running',
  );
  return exitstatus as string;
}

async function logOf(rig: ServerRig, upid: string): Promise<string> {
  const lines = await rig.admin.call<{ t: string }[]>('GET', `${taskPath(upid)}/log?limit=1000`);
  return lines.map(({ t }) => t).join('\n');
}

async function nodeOf(rig: ServerRig, name: string): Promise<NodeRow> {
  return await rig.admin.call<NodeRow>('GET', `/config/node/${name}`);
}

async function online(rig: ServerRig, name: string, is = true): Promise<NodeRow> {
  return await until(
    () => nodeOf(rig, name),
    ({ status }) => (status === 'online') === is,
  );
}

suite('a server and its agents', () => {
  let rig: ServerRig;
  const ends: (() => void)[] = [];

  before(async () => {
    rig = await startRig({ after: (ended) => ends.push(ended) });
    await makeUser(rig);
  });
  after(() => {
    for (const end of ends) end();
  });

  test('a host is enrolled, backs up and restores by order, and is shown', async (t) => {
    const { agent, disk, group, authId, state } = await newHost(rig, t, 'web1');
    assert.equal(statSync(join(state, 'agent.json')).mode & 0o777, 0o600);
    assert.equal((await nodeOf(rig, 'web1')).status, 'offline');
    await assert.rejects(order(rig, 'web1', 'backup', { group, archives: [`disk.img:${disk}`] }), /is not connected/);
    await agent.start();
    const shown = await online(rig, 'web1');
    assert.equal(shown.version, '0.1');
    assert.equal(shown.address, '127.0.0.1');
    assert.ok(Math.abs((shown['last-contact'] ?? 0) - Date.now() / 1000) < 60);
    assert.match(shown['machine-id'] ?? '', /^[0-9a-f]{64}$/);
    const nodes = await rig.admin.call<{ node: string; status: string }[]>('GET', '/nodes');
    assert.deepEqual(
      nodes.filter(({ node }) => node === 'web1').map(({ status }) => status),
      ['online'],
    );

    const tree = rig.path('tree');
    mkdirSync(join(tree, 'etc'), { recursive: true });
    writeFileSync(join(tree, 'etc', 'hosts'), 'localhost\n');
    const upid = await order(rig, 'web1', 'backup', { group, archives: [`disk.img:${disk}`, `root.tree:${tree}`] });
    assert.equal(await endOf(rig, upid), 'OK');
    const log = await logOf(rig, upid);
    assert.match(log, /the backup begins[\s\S]*snapshot +host\/web1\//);
    const { result } = await rig.admin.call<{ result: { snapshot: string; bytesNew: number } }>(
      'GET',
      `${taskPath(upid)}/result`,
    );
    assert.ok(result.bytesNew >= DISK_BYTES);
    const [row] = await rig.admin.call<{ owner: string; 'backup-id': string }[]>(
      'GET',
      `/admin/datastore/${STORE}/groups`,
    );
    assert.deepEqual([row?.owner, row?.['backup-id']], [authId, 'web1']);

    const target = rig.path('restored-web1/disk.raw');
    mkdirSync(rig.path('restored-web1'));
    const place = { snapshot: result.snapshot, archive: 'disk.img', target };
    assert.equal(await endOf(rig, await order(rig, 'web1', 'restore', place)), 'OK');
    assert.ok(readFileSync(target).equals(readFileSync(disk)));
    const files = { snapshot: `${group}/latest`, archive: 'root.tree', target: rig.path('restored-web1/tree') };
    assert.equal(await endOf(rig, await order(rig, 'web1', 'restore', files)), 'OK');
    assert.equal(readFileSync(rig.path('restored-web1/tree/etc/hosts'), 'utf8'), 'localhost\n');

    // The same from a command line, which follows the log and ends as the task does.
    const root = rig.account('root@pam').with({
      HOLDFAST_PASSWORD: readFileSync(join(rig.stateDirectory, 'first-password'), 'utf8').trim(),
    });
    const followed = await root.try(['node', 'backup', 'web1', `disk.img:${disk}`, '--group', group]);
    assert.equal(followed.code, 0, followed.stderr);
    assert.match(followed.stdout.toString(), /the backup begins[\s\S]*TASK OK\ntask +UPID:/);
    const failed = await root.try([
      'node',
      'backup',
      'web1',
      `disk.img:${disk}.none`,
      '--group',
      group,
      '--output-format',
      'json',
    ]);
    assert.match(messageOf(failed, 'task-failed'), /web1\.raw\.none/);

    assert.equal(await agent.end('SIGTERM'), 0);
    await online(rig, 'web1', false);
  });

  test('progress is seen while an order runs, and an abort ends it at the agent', async (t) => {
    const { agent, disk, group } = await newHost(rig, t, 'slow1');
    await agent.start();
    const upid = await order(rig, 'slow1', 'backup', { group, archives: [`disk.img:${disk}`], ...SLOW });
    const { progress } = await underWay(rig, upid);
    assert.equal(progress?.what, 'disk.img');
    assert.equal(progress?.bytesTotal, DISK_BYTES);
    await rig.admin.call('DELETE', taskPath(upid));
    assert.match(await endOf(rig, upid), /^aborted: aborted by root@pam/);
    await agent.said(/an order failed/);
    // What is told of a snapshot that there is not is nothing; the next order is served.
    const next = await order(rig, 'slow1', 'backup', { group, archives: [`disk.img:${disk}`] });
    assert.equal(await endOf(rig, next), 'OK');
  });

  test('a second agent with the same identity is refused while the first answers', async (t) => {
    const { agent, state, group, disk } = await newHost(rig, t, 'twin1');
    await agent.start();
    const copy = rig.path('state-copy');
    cpSync(state, copy, { recursive: true });
    const second = new AgentProcess(t, copy);
    const said = await second.start(/node-duplicate/);
    assert.match(said, /another agent with the identity of node twin1 is connected, from 127\.0\.0\.1/);
    const upid = await order(rig, 'twin1', 'backup', { group, archives: [`disk.img:${disk}`] });
    assert.equal(await endOf(rig, upid), 'OK');
    assert.equal(agent.lines.filter((line) => /is not reached/.test(line)).length, 0);
  });

  test('an order outside of what the host allows is refused with the name of the setting', async (t) => {
    const allowed = rig.path('allowed');
    mkdirSync(allowed);
    writeFileSync(join(allowed, 'a.conf'), 'a');
    symlinkSync('/etc/hostname', join(allowed, 'link.conf'));
    const { agent, group } = await newHost(rig, t, 'strict1', '--allow-backup', allowed);
    await agent.start();
    const backup = async (path: string) =>
      await endOf(rig, await order(rig, 'strict1', 'backup', { group, archives: [`a.conf:${path}`] }));
    assert.equal(await backup(join(allowed, 'a.conf')), 'OK');
    for (const path of ['/etc/hostname', join(allowed, 'link.conf'), join(allowed, '../strict1.raw')])
      assert.match(await backup(path), /may not be backed up from on this host: allowBackup in its agent\.json names/);
    const restore = async (target: string) =>
      await endOf(
        rig,
        await order(rig, 'strict1', 'restore', { snapshot: `${group}/latest`, archive: 'a.conf', target }),
      );
    const outside = rig.path('outside.conf');
    assert.match(await restore(outside), /may not be restored to on this host: allowRestore in its agent\.json names/);
    assert.equal(existsSync(outside), false);
  });

  test('a key of the host encrypts whatever is ordered, and nobody is asked for what is missing', async (t) => {
    const key = rig.path('host.key');
    const made = await holdfast(['key', 'create', key, '--kdf', 'none']);
    assert.equal(made.code, 0, made.stderr);
    const { agent, disk, group } = await newHost(rig, t, 'secret1', '--keyfile', key);
    await agent.start();
    const backup = async () =>
      await endOf(rig, await order(rig, 'secret1', 'backup', { group, archives: [`disk.img:${disk}`] }));
    assert.match(await backup(), /has no recovery key: if it or its passphrase is lost/);
    const own = rig.path('own-store');
    const words = ['--repository', own, '--keyfile', key];
    assert.equal((await holdfast(['datastore', 'create', '--repository', own])).code, 0);
    const first = ['backup', '--group', 'host/x', `a.conf:${key}`, '--acknowledge-lost-key', ...words];
    const acknowledged = await holdfast(first, { env: { HOLDFAST_STATE_DIR: rig.path('own-client') } });
    assert.equal(acknowledged.code, 0, acknowledged.stderr);
    assert.equal(await backup(), 'OK');
    const [row] = await rig.admin.call<{ files: { filename: string; 'crypt-mode'?: string }[] }[]>(
      'GET',
      `/admin/datastore/${STORE}/snapshots?backup-type=host&backup-id=secret1`,
    );
    const disks = row?.files.filter(({ filename }) => filename.startsWith('disk.img')) ?? [];
    assert.deepEqual(
      disks.map((file) => file['crypt-mode']),
      ['encrypt'],
    );
    const target = join(rig.path('restored-secret1'), 'disk.raw');
    mkdirSync(rig.path('restored-secret1'));
    const place = { snapshot: `${group}/latest`, archive: 'disk.img', target };
    assert.equal(await endOf(rig, await order(rig, 'secret1', 'restore', place)), 'OK');
    assert.ok(readFileSync(target).equals(readFileSync(disk)));
  });

  test('an enrolment is good once and for its time, and its refusals are one', async () => {
    const made = await addNode(rig, 'once1');
    const untrusted = await enroll(rig, 'once1', { ...made, fingerprint: 'ab'.repeat(32) }, rig.path('state-once0'));
    messageOf(untrusted, 'server-untrusted');
    assert.equal(existsSync(rig.path('state-once0/agent.json')), false);
    assert.equal((await enroll(rig, 'once1', made, rig.path('state-once1'))).code, 0);
    const used = messageOf(await enroll(rig, 'once1', made, rig.path('state-once2')), 'not-authenticated');
    const short = await addNode(rig, 'once2', { lifetime: 1 });
    await sleep(1500);
    const expired = messageOf(await enroll(rig, 'once2', short, rig.path('state-once3')), 'not-authenticated');
    const unknown = messageOf(await enroll(rig, 'once3', made, rig.path('state-once4')), 'not-authenticated');
    const plain = (text: string): string => text.replaceAll(/once\d/g, 'NODE');
    assert.equal(plain(expired), plain(used));
    assert.equal(plain(unknown), plain(used));
    await assert.rejects(addNode(rig, 'once1'), /--renew/);
    const again = await addNode(rig, 'once1', { renew: true });
    assert.equal((await enroll(rig, 'once1', again, rig.path('state-once1'))).code, 0);
  });

  test('a cut of the control line changes nothing for an order', async (t) => {
    const { agent, disk, group, state } = await newHost(rig, t, 'far1');
    const proxy = await TcpProxy.start('127.0.0.2', { host: rig.server.host, ports: [rig.server.port] });
    t.after(() => proxy.close());
    const config = join(state, 'agent.json');
    // Control and API through the proxy; the port for data is told by the server, and on the same host.
    writeFileSync(config, readFileSync(config, 'utf8').replace('"127.0.0.1"', '"127.0.0.2"'));
    const bulk = await TcpProxy.start('127.0.0.2', { host: rig.server.host, ports: [rig.server.bulkPort] });
    t.after(() => bulk.close());
    await agent.start();
    const upid = await order(rig, 'far1', 'backup', { group, archives: [`disk.img:${disk}`], ...SLOW });
    await underWay(rig, upid);
    const from = agent.lines.length;
    proxy.cut();
    await agent.said(/the agent is connected/, from);
    assert.equal(await endOf(rig, upid), 'OK');
    assert.match(
      await logOf(rig, upid),
      /the agent of far1 is away[\s\S]*the agent of far1 is there again[\s\S]*snapshot +host\/far1/,
    );
  });

  test('an agent that is killed ends its orders with an error, and the next start works', async (t) => {
    const { agent, disk, group } = await newHost(rig, t, 'dead1');
    await agent.start();
    const upid = await order(rig, 'dead1', 'backup', { group, archives: [`disk.img:${disk}`], ...SLOW });
    await underWay(rig, upid);
    await agent.end('SIGKILL');
    await online(rig, 'dead1', false);
    assert.equal((await statusOf(rig, upid)).status, 'running');
    await agent.start();
    assert.match(await endOf(rig, upid), /the agent of node dead1 was started anew/);
    const next = await order(rig, 'dead1', 'backup', { group, archives: [`disk.img:${disk}`] });
    assert.equal(await endOf(rig, next), 'OK');
  });

  test('a token that is taken away ends the connection within a beat', async (t) => {
    const { agent } = await newHost(rig, t, 'gone1');
    await agent.start();
    await rig.admin.call('DELETE', `/access/users/${USER}/token/agent-gone1`);
    await agent.said(/is good no more/);
    assert.equal((await online(rig, 'gone1', false)).status, 'offline');
  });

  test('a node that is removed is gone with its token and its connection', async (t) => {
    const { agent } = await newHost(rig, t, 'off1');
    await agent.start();
    await rig.admin.call('DELETE', '/config/node/off1');
    await agent.said(/was removed from the server/);
    await assert.rejects(nodeOf(rig, 'off1'), /no such node 'off1'/);
    const tokens = await rig.admin.call<{ 'token-name': string }[]>('GET', `/access/users/${USER}/token`);
    assert.equal(
      tokens.some((token) => token['token-name'] === 'agent-off1'),
      false,
    );
  });
});

test('a server runs an agent in its own process: nothing is enrolled by hand, also not after a restart', async (t) => {
  const rig = await startRig(t, ['--local-agent']);
  const file = rig.path('file.conf');
  writeFileSync(file, 'content');
  const backup = async () =>
    await endOf(rig, await order(rig, 'localhost', 'backup', { group: 'host/own', archives: [`file.conf:${file}`] }));
  await online(rig, 'localhost');
  assert.equal(await backup(), 'OK');
  const nodes = await rig.admin.call<object[]>('GET', '/nodes');
  assert.equal(nodes.length, 1);
  const fromServer = rig.server.lines.length;
  assert.equal(await rig.server.end('SIGTERM'), 0);
  await rig.server.start();
  await rig.server.said(/an agent is connected/, fromServer);
  assert.equal(await backup(), 'OK');
  const target = join(rig.stateDirectory, 'agent', 'restore', 'file.conf');
  const place = { snapshot: 'host/own/latest', archive: 'file.conf', target };
  assert.equal(await endOf(rig, await order(rig, 'localhost', 'restore', place)), 'OK');
  assert.equal(readFileSync(target, 'utf8'), 'content');
  // Whoever takes its token away has taken it away: a restart gives it no other.
  await rig.admin.call('DELETE', '/access/users/root@pam/token/agent-localhost');
  const from = rig.server.lines.length;
  await rig.server.end('SIGTERM');
  await rig.server.start();
  await rig.server.said(/the server is not reached/, from);
  assert.equal((await nodeOf(rig, 'localhost')).status, 'offline');
});

test('a server that is killed finds its agents again, and what they went on with', async (t) => {
  const rig = await startRig(t);
  await makeUser(rig);
  const { agent, disk, group } = await newHost(rig, t, 'web1');
  await agent.start();
  const upid = await order(rig, 'web1', 'backup', { group, archives: [`disk.img:${disk}`], ...SLOW });
  await underWay(rig, upid);
  const [from, fromServer] = [agent.lines.length, rig.server.lines.length];
  await rig.server.end('SIGKILL');
  await agent.said(/is not reached/, from);
  await rig.server.start();
  await agent.said(/the agent is connected/, from);
  assert.match(await endOf(rig, upid), /^interrupted/);
  await rig.server.said(/an order goes on that no task waits for/, fromServer);
  const ended = await rig.server.said(/an order ended that no task waits for/, fromServer);
  assert.equal((JSON.parse(ended) as { outcome: string }).outcome, 'ok');
  const target = rig.path('restored-web1');
  rmSync(target, { recursive: true, force: true });
  const place = { snapshot: `${group}/latest`, archive: 'disk.img', target };
  assert.equal(await endOf(rig, await order(rig, 'web1', 'restore', place)), 'OK');
  assert.ok(readFileSync(target).equals(readFileSync(disk)));
});
