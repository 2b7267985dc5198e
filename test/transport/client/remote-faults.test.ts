// Lines that break, servers that begin anew, servers that are not the right ones: what arrives, and what is said.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { Type } from 'typebox';
import { encodeList } from '../../../src/chunker/list.ts';
import { Kind, type ObjectId } from '../../../src/chunker/object.ts';
import { PageBuilder } from '../../../src/chunker/page.ts';
import type { ClientPart } from '../../../src/schema/manifest.ts';
import type { RemoteSession } from '../../../src/transport/client/remote-session.ts';
import { RemoteStore } from '../../../src/transport/client/remote-store.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import type { WorkerPool } from '../../../src/util/worker-pool.ts';
import { clientPart } from '../../support/store.ts';
import { makeCertificate } from './certificate.ts';
import { type MemoryServer, SECRET } from './memory-server.ts';
import { connect, startServer, startThreads } from './remote-rig.ts';

const GROUP = { ns: '', group: 'vm/101' };
const PLAIN = { key: undefined, compressionLevel: 1 };
const NO_SIGNAL = new AbortController().signal;
const NO_REFS = new Uint8Array(0);
const code =
  (wanted: string, why = /./) =>
  (error: unknown) =>
    error instanceof HoldfastError && error.code === wanted && why.test(error.message);

/** Puts `pages` pages of `pieces` chunks that repeat nowhere, from all threads at once, and a list of them. */
async function putImage(pool: WorkerPool, session: RemoteSession, pages: number, pieces = 20): Promise<ClientPart> {
  const put = async (thread: number, kind: number, refs: Uint8Array, payload: Uint8Array) =>
    Buffer.from(
      await pool.call<Uint8Array>(thread, 'store.put', { session: session.id, kind, refs, payload }),
    ) as ObjectId;
  const entries = await Promise.all(
    Array.from({ length: pages }, async (_, place) => {
      const builder = new PageBuilder();
      for (let piece = 0; piece < pieces; piece++)
        builder.addData(40_000, await put((place + piece) % pool.size, Kind.data, NO_REFS, randomBytes(40_000)));
      const { refs, payload } = builder.finish();
      return { length: pieces * 40_000, id: await put(place % pool.size, Kind.page, refs, payload) };
    }),
  );
  const { refs, payload } = encodeList({ childKind: Kind.page, height: 1, entries });
  return clientPart(await session.put(Kind.list, refs, payload), pages * pieces * 40_000);
}

/** How often each record was taken over. */
function timesTaken(server: MemoryServer): Map<string, number> {
  const times = new Map<string, number>();
  for (const id of server.of('put').flatMap((call) => call.taken)) times.set(id, (times.get(id) ?? 0) + 1);
  return times;
}

test('property: lines that are cut anywhere lose nothing, and nothing is taken over twice', async (t) => {
  const pool = startThreads(t);
  let made = 0;
  const cut = fc.record({ after: fc.integer({ min: 1, max: 2_000_000 }), beforeAnswer: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(cut, { minLength: 1, maxLength: 3 }), fc.boolean(), async (cuts, asks) => {
      const server = await startServer(t);
      server.tellsEmptyScope = !asks;
      const store = connect(t, server);
      const left = [...cuts];
      const next = (): void => {
        const step = left.shift();
        server.behaviour.cutAfterBytes = step?.after;
        let isOpen = step?.beforeAnswer ?? false;
        server.behaviour.cutAnswer = (call) => {
          if (isOpen && call.method === 'put') {
            isOpen = false;
            next();
            return true;
          }
          if (server.behaviour.cutAfterBytes === undefined && left.length > 0) next();
          return false;
        };
      };
      next();
      const session = await store.openBackup(pool, GROUP, PLAIN);
      const client = await putImage(pool, session, 6);
      const { manifest } = await session.commit(client, undefined, NO_SIGNAL);
      assert.deepEqual(manifest.client, client);
      assert.equal(server.store.objects(0).size, 6 * 21 + 1);
      assert.deepEqual(
        [...timesTaken(server).values()].filter((times) => times > 1),
        [],
      );
      made += server.cuts;
      await store.close();
      await server.close();
    }),
    { numRuns: 12 },
  );
  assert.ok(made >= 12, `${made} lines were cut`);
});

test('a server that began anew takes the backup up again', async (t) => {
  const server = await startServer(t);
  const store = connect(t, server);
  const pool = startThreads(t);
  const session = await store.openBackup(pool, GROUP, PLAIN);
  let restarts = 0;
  server.behaviour.cutAnswer = (call) => {
    if (call.method === 'put' && restarts < 2 && server.of('put').length > 3 * (restarts + 1)) {
      restarts++;
      server.restart();
    }
    return false;
  };
  const client = await putImage(pool, session, 10);
  const { manifest } = await session.commit(client, undefined, NO_SIGNAL);
  assert.ok(restarts > 0);
  assert.equal(
    server.apiCalls.filter(({ method, path }) => method === 'POST' && path.endsWith('/sessions')).length,
    1 + restarts,
  );
  assert.deepEqual(manifest.client, client);
});

test('a server that lost what was sent ends the backup, and says that a retry is the way', async (t) => {
  const server = await startServer(t);
  const store = connect(t, server);
  const pool = startThreads(t);
  const session = await store.openBackup(pool, GROUP, PLAIN);
  const client = await putImage(pool, session, 4);
  server.restart({ keepsLeftovers: false });
  server.store.records.clear();
  await assert.rejects(() => session.commit(client, undefined, NO_SIGNAL), code('session-gone', /run again/));
  await session.suspend();
});

test('a commit whose answer was lost is not made twice', async (t) => {
  const server = await startServer(t);
  const store = connect(t, server);
  const pool = startThreads(t);
  for (const how of ['line', 'server']) {
    const session = await store.openBackup(pool, { ns: '', group: `vm/${how}` }, PLAIN);
    const client = await putImage(pool, session, 1);
    let isFirst = true;
    server.behaviour.onCommitted = (request) => {
      if (isFirst && how === 'server') server.restart();
      if (isFirst) request.socket.destroy();
      isFirst = false;
    };
    const { manifest } = await session.commit(client, undefined, NO_SIGNAL);
    assert.deepEqual(server.store.snapshots.get(`vm/${how}`), [manifest]);
  }
});

test('a server that stays away is given up, and the reason is said', async (t) => {
  const server = await startServer(t);
  const store = connect(t, server, { patienceMs: 700 });
  const pool = startThreads(t);
  const session = await store.openBackup(pool, GROUP, PLAIN);
  await server.close();
  await assert.rejects(
    async () => {
      await session.put(Kind.blob, NO_REFS, Buffer.from('x'));
      await session.commit(clientPart(Buffer.alloc(32) as ObjectId, 1), undefined, NO_SIGNAL);
    },
    code('server-unreachable', /ECONNREFUSED/),
  );
});

for (const asks of [true, false]) {
  test(`an abort ends a backup that waits for a server${asks ? '' : ', where nothing is asked'}`, async (t) => {
    const server = await startServer(t);
    server.tellsEmptyScope = !asks;
    const stop = new AbortController();
    const store = connect(t, server, { patienceMs: 60_000, signal: stop.signal });
    const pool = startThreads(t);
    const session = await store.openBackup(pool, GROUP, PLAIN);
    await server.close();
    const put = asks ? session.put(Kind.blob, NO_REFS, Buffer.from('x')) : backUp(session);
    put.catch(() => undefined);
    await sleep(300);
    const started = performance.now();
    stop.abort(new HoldfastError('aborted', 'stopped by Ctrl-C'));
    await assert.rejects(put, code('aborted', /Ctrl-C/));
    await session.suspend();
    assert.ok(performance.now() - started < 5000);
  });

  test(`a bulk listener with another certificate gets no token${asks ? '' : ', where nothing is asked'}`, async (t) => {
    const server = await startServer(t);
    server.tellsEmptyScope = !asks;
    const other = await startServer(t, await makeCertificate('somebody else'));
    const store = connect(t, server);
    const pool = startThreads(t);
    server.announcedBulkPort = other.bulkPort;
    const session = await store.openBackup(pool, GROUP, PLAIN);
    const put = () => (asks ? session.put(Kind.blob, NO_REFS, Buffer.from('x')) : backUp(session));
    await assert.rejects(put, code('server-untrusted'));
    assert.equal(other.bytesOfAll, 0);
    await session.suspend();
  });
}

/** Puts and commits: what goes wrong with a put that nobody asked about is told by the latter. */
async function backUp(session: RemoteSession): Promise<void> {
  const root = await session.put(Kind.blob, NO_REFS, Buffer.from('x'));
  await session.commit(clientPart(root, 1), undefined, NO_SIGNAL);
}

test('a wrong fingerprint is refused before anything is sent', async (t) => {
  const server = await startServer(t);
  const signal = NO_SIGNAL;
  const address = { user: 'root@pam', token: 'ci', host: '127.0.0.1', port: server.port, store: 'tank' };
  const wrong = new RemoteStore(address, { secret: SECRET, fingerprint: 'ab'.repeat(32) }, { signal });
  t.after(() => wrong.close());
  await assert.rejects(
    () => wrong.ask({ name: 'describe', answer: Type.Unknown() }, {}),
    code('server-untrusted', /ab:ab/),
  );
  const unknown = new RemoteStore(address, { secret: SECRET, fingerprint: undefined }, { signal });
  t.after(() => unknown.close());
  await assert.rejects(
    () => unknown.ask({ name: 'describe', answer: Type.Unknown() }, {}),
    code('server-untrusted', /--fingerprint/),
  );
  const byPassword = { ...address, token: undefined };
  const login = new RemoteStore(byPassword, { secret: SECRET, fingerprint: 'ab'.repeat(32) }, { signal });
  t.after(() => login.close());
  await assert.rejects(() => login.ask({ name: 'describe', answer: Type.Unknown() }, {}), code('server-untrusted'));
  assert.equal(server.apiCalls.length, 0);
  assert.equal(server.bytesOfAll, 0);
});

test('a login with the password takes a ticket, and uses it', async (t) => {
  const server = await startServer(t);
  const address = { user: 'root@pam', token: undefined, host: '127.0.0.1', port: server.port, store: 'tank' };
  const options = { signal: NO_SIGNAL };
  const store = new RemoteStore(address, { secret: SECRET, fingerprint: server.fingerprint }, options);
  t.after(() => store.close());
  const pool = startThreads(t, 1);
  const session = await store.openBackup(pool, GROUP, PLAIN);
  const client = await putImage(pool, session, 1, 2);
  await session.commit(client, 1_790_000_500, NO_SIGNAL);
  assert.deepEqual(
    (server.store.snapshots.get(GROUP.group) ?? []).map((manifest) => manifest.server.time),
    [1_790_000_500],
  );
  assert.equal(server.apiCalls.filter(({ path }) => path.endsWith('/access/ticket')).length, 1);
  const wrong = new RemoteStore(address, { secret: 'guess', fingerprint: server.fingerprint }, options);
  t.after(() => wrong.close());
  await assert.rejects(
    () => wrong.ask({ name: 'describe', answer: Type.Unknown() }, {}),
    (error: unknown) => error instanceof HoldfastError && !error.message.includes('guess'),
  );
});

test('a record that the server refuses ends the backup with its words', async (t) => {
  const server = await startServer(t);
  const store = connect(t, server);
  const pool = startThreads(t);
  const session = await store.openBackup(pool, GROUP, PLAIN);
  server.behaviour.refuse = (call) =>
    call.method === 'put' ? new HoldfastError('quota-exceeded', 'the quota of office is used up') : undefined;
  const client = putImage(pool, session, 3);
  await assert.rejects(
    async () => session.commit(await client, undefined, NO_SIGNAL),
    code('quota-exceeded', /office/),
  );
  await session.suspend();
  assert.equal(server.store.sessions.size, 0);
});

test('answers of the API that are not as they should be are refused', async (t) => {
  const server = await startServer(t);
  const store = connect(t, server);
  const pool = startThreads(t, 1);
  const open = () => store.openBackup(pool, GROUP, PLAIN);
  const good = { ...server.limits };
  for (const wrong of [{ 'have-ids': 0 }, { 'put-bytes': -1 }, { 'idle-seconds': 1e12 }]) {
    server.limits = { ...good, ...wrong };
    await assert.rejects(open, code('protocol-failed', /JSON of another form/));
  }
  server.limits = good;
  server.announcedBulkPort = 70_000;
  await assert.rejects(open, code('protocol-failed', /bulk-port/));
  server.announcedBulkPort = undefined;
  await assert.rejects(() => store.openReader(pool, GROUP, [7], undefined), code('not-found'));
});

test('everything is let go: no session is left at the server, and no connection', async (t) => {
  const server = await startServer(t);
  const store = connect(t, server);
  const pool = startThreads(t, 1);
  const session: RemoteSession = await store.openBackup(pool, GROUP, PLAIN);
  await session.put(Kind.blob, NO_REFS, Buffer.from('x'));
  assert.equal(server.store.sessions.size, 1);
  await store.close();
  assert.equal(server.store.sessions.size, 0);
  for (let turn = 0; server.connections > 0; turn++) {
    assert.ok(turn < 50, `${server.connections} connections are left`);
    await sleep(20);
  }
});
