// Downloads over real sockets: callers who are slow, gone or too many, and a snapshot that is removed below one.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeList } from '../../src/chunker/list.ts';
import { Kind } from '../../src/chunker/object.ts';
import { commitTree, TreeObjects } from '../agent/tree/tree-archive.ts';
import { clientPart, NO_SIGNAL, type OpenStore, putData, putPage } from '../support/store.ts';
import { ApiRig } from './rig.ts';

const ROOT = 'root@pam';
const STORE = '/admin/datastore/store1';
const IDLE_MS = 3000;
const HUGE_BYTES = 2 ** 35;
const rig = new ApiRig(undefined, IDLE_MS);
let open: OpenStore;
let port = 0;
let time = 0;

before(async () => {
  open = await rig.store('store1');
  for (const user of ['anna@pbs', 'berta@pbs', 'carl@pbs'])
    rig.access.grant(user, { '/datastore/store1': 'DatastoreReader' });
  await commitHuge('vm/1');
  await rig.app.listen({ host: '127.0.0.1', port: 0 });
  port = (rig.app.server.address() as AddressInfo).port;
});
after(() => rig.close());

/** A disk of 32 GiB that is all hole: more than any buffer takes, made in no time. */
async function commitHuge(group: string): Promise<void> {
  const session = await open.session(group);
  const entries = [{ length: HUGE_BYTES, id: undefined }];
  const { refs, payload } = encodeList({ childKind: Kind.page, height: 1, entries });
  await session.commit(
    clientPart(await session.put(Kind.list, refs, payload), HUGE_BYTES, group),
    undefined,
    NO_SIGNAL,
  );
  time = (await open.store.groups.times('' as never, group as never)).at(-1) as number;
}

/** A disk of 64 MiB, more than sockets take: pages of sixteen times the same 64 KiB, each page its own. */
async function commitPages(group: string): Promise<{ content: Buffer; time: number }> {
  const session = await open.session(group);
  const pieces = Array.from({ length: 64 }, (_, place) => Buffer.alloc(65536, `${place} of ${group} `));
  const entries = [];
  for (const piece of pieces) {
    const id = await putData(open, session, piece);
    const page = await putPage(session, new Array(16).fill({ id, length: piece.length }));
    entries.push({ length: 16 * piece.length, id: page });
  }
  const { refs, payload } = encodeList({ childKind: Kind.page, height: 1, entries });
  const root = await session.put(Kind.list, refs, payload);
  const content = Buffer.concat(pieces.flatMap((piece) => new Array<Buffer>(16).fill(piece)));
  const { name } = await session.commit(clientPart(root, content.length, group), undefined, NO_SIGNAL);
  return { content, time: name.time };
}

/** Begins a download of the huge disk, and takes nothing but what sockets take by themselves. */
function begin(who: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  return ask(who, `/download?backup-type=vm&backup-id=1&backup-time=${time}&file-name=disk0.img`, headers);
}

/** The head of an answer, below the datastore. */
async function ask(who: string, path: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const request = get({
    ...{ host: '127.0.0.1', port, path: `/api2/json${STORE}${path}`, agent: false },
    headers: { ...rig.headers(who), ...headers },
  });
  request.on('error', () => {});
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.on('error', () => {});
  return response;
}

const reading = async (): Promise<number> =>
  ((await rig.call(ROOT, 'GET', `${STORE}/active-operations`)).json.data as { read: number }).read;

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline, 'it does not come to that');
    await sleep(20);
  }
}

test('four of a user and eight of a datastore run; one more is told to wait, and a place that is left is free', async () => {
  const running: IncomingMessage[] = [];
  const keepAlive = setInterval(() => {
    for (const response of running) response.read();
  }, 10);
  try {
    for (const who of ['anna@pbs', 'berta@pbs']) for (let count = 0; count < 4; count++) running.push(await begin(who));
    assert.deepEqual(
      running.map(({ statusCode }) => statusCode),
      new Array(8).fill(200),
    );
    assert.equal(await reading(), 8);
    for (const [who, words] of [
      ['anna@pbs', /4 downloads of anna@pbs are running in 'store1'/],
      ['carl@pbs', /8 downloads are running in 'store1'/],
    ] as const) {
      const more = await begin(who);
      assert.equal(more.statusCode, 400);
      assert.match(String(await more.setEncoding('utf8').toArray()), words);
      const coded = await begin(who, { accept: 'application/vnd.holdfast.error+json' });
      assert.equal(coded.statusCode, 429);
      coded.destroy();
    }
    // Lists have places of their own.
    const list = await rig.call('anna@pbs', 'GET', `${STORE}/catalog`, {
      ...{ 'backup-type': 'vm', 'backup-id': '1', 'backup-time': time, filepath: 'root' },
    });
    assert.equal(list.status, 200);
    running.shift()?.destroy();
    await until(async () => (await reading()) === 7);
    running.push(await begin('anna@pbs'));
    assert.equal(running.at(-1)?.statusCode, 200);
  } finally {
    clearInterval(keepAlive);
    for (const response of running) response.destroy();
  }
  await until(async () => (await reading()) === 0);
});

test('a caller who takes nothing is cut off, and the server says why', async () => {
  const before = rig.cut.length;
  const response = await begin('anna@pbs');
  assert.equal(response.statusCode, 200);
  const startedMs = performance.now();
  await until(async () => (await reading()) === 0);
  assert.ok(performance.now() - startedMs >= IDLE_MS / 2);
  assert.match(String(rig.cut[before]?.message), /took nothing for/);
  // What sockets had taken already comes, and then the end comes too early.
  response.resume();
  await new Promise((resolve) => response.once('close', resolve));
  assert.equal(response.complete, false);
});

test('a caller who goes away ends the work at once, and is no reason for a warning', async () => {
  const before = rig.cut.length;
  const response = await begin('anna@pbs');
  response.destroy();
  const startedMs = performance.now();
  await until(async () => (await reading()) === 0);
  assert.ok(performance.now() - startedMs < IDLE_MS / 2);
  assert.equal(rig.cut.length, before);
});

test('a snapshot that is forgotten and collected below a download still comes whole', async () => {
  const { content, time: made } = await commitPages('vm/2');
  const query = `backup-type=vm&backup-id=2&backup-time=${made}&file-name=disk0.img`;
  const response = await ask('anna@pbs', `/download?${query}`);
  assert.equal(response.statusCode, 200);
  await open.store.forget({ ns: '' as never, group: 'vm/2' as never, time: made });
  const upid = String((await rig.call(ROOT, 'POST', `${STORE}/gc`)).json.data);
  await rig.tasks.settle();
  assert.equal(rig.tasks.get(upid)?.status, 'OK');
  const got: Buffer[] = [];
  for await (const bytes of response) got.push(bytes as Buffer);
  assert.ok(Buffer.concat(got).equals(content));
});

test('lists that callers leave in the middle give their places back, and their threads and snapshots too', async (t) => {
  await until(async () => (await reading()) === 0);
  await sleep(100);
  const counts = new Map<string, number>();
  const { pool } = open;
  const real = pool.call.bind(pool);
  t.mock.method(pool, 'call', (thread: number, method: string, argument: unknown) => {
    counts.set(method, (counts.get(method) ?? 0) + 1);
    return real(thread, method, argument);
  });
  const objects = new TreeObjects();
  const files = Array.from({ length: 40_000 }, (_, place) => objects.file(`${place}`.padStart(60, 'x'), ['1']));
  await commitTree(open, objects, objects.root(objects.directory('', files)), 'host/wide', 'anna@pbs');
  const [made] = await open.store.groups.times('' as never, 'host/wide' as never);
  const filepath = encodeURIComponent(Buffer.from('/root.tree').toString('base64'));
  const query = `backup-type=host&backup-id=wide&backup-time=${made}&filepath=${filepath}`;
  // Twice as many as may run at once.
  for (let count = 0; count < 16; count++) {
    const response = await ask('anna@pbs', `/catalog?${query}`);
    assert.equal(response.statusCode, 200, `list ${count}`);
    response.destroy();
    await sleep(60);
  }
  const whole = await ask('anna@pbs', `/catalog?${query}`);
  const { data } = JSON.parse(String(Buffer.concat((await whole.toArray()) as Buffer[]))) as { data: object[] };
  assert.equal(data.length, 40_000);
  assert.equal(counts.get('download.open'), 17);
  for (const method of ['download.close', 'store.closeReader'])
    await until(async () => counts.get(method) === 17).catch(() => assert.fail(JSON.stringify([...counts])));
});

test('a datastore that is closed cuts its downloads off', async () => {
  const before = rig.cut.length;
  const response = await begin(ROOT);
  assert.equal(response.statusCode, 200);
  await open.close();
  rig.datastores.open.delete('store1');
  response.resume();
  await new Promise((resolve) => response.once('close', resolve));
  assert.equal(response.complete, false);
  assert.equal(rig.cut.length, before + 1);
});

test('nothing of all this was a mistake of the server', () => {
  assert.deepEqual(rig.bugs, []);
});
