// Disks that are served while their session is lost again and again: whoever reads gets the right bytes, or learns of what no new session would mend.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { NbdClient } from '../../../src/agent/nbd/client.ts';
import { CHUNK, COMMAND } from '../../../src/agent/nbd/protocol.ts';
import { serveSnapshot } from '../../../src/agent/qemu/restore-serve.ts';
import { Kind, PAGE_BYTES } from '../../../src/chunker/object.ts';
import type { Archive } from '../../../src/schema/manifest.ts';
import type { HoldfastError } from '../../../src/util/errors.ts';
import { RawClient } from '../nbd/raw-client.ts';
import { scratch } from '../nbd/servers.ts';
import type { Piece } from '../serve/rig.ts';
import { LosingServer } from './losing-server.ts';

const KIB = 1024;
const PIECES: readonly Piece[] = Array.from({ length: 600 }, (_, place) => ({
  length: 64 * KIB + place,
  seed: place % 7 === 0 ? undefined : place,
}));

async function serve(
  t: TestContext,
  server: LosingServer,
  archive: Archive,
  reopen: boolean | (() => Promise<void>) = true,
  archives = [archive],
) {
  const failures: Error[] = [];
  const waits: string[] = [];
  const snapshot = { name: 'vm/1/now', archives, space: 0, pool: server.pool, get: () => assert.fail() };
  const socketPath = join(scratch(t), 's');
  const served = await serveSnapshot(
    { ...snapshot, reopen: reopen === true ? server.reopen : reopen || undefined },
    socketPath,
    {
      refused: (error) => void failures.push(error),
      waits: ({ message }) => void waits.push(message),
    },
  );
  t.after(() => served.close().catch(() => undefined));
  const connect = async (exportName = archive.name): Promise<NbdClient> => {
    const client = await NbdClient.connect({ socketPath, exportName, metaContexts: ['base:allocation'] });
    t.after(() => client.close());
    return client;
  };
  return { socketPath, connect, failures, waits, close: () => served.close() };
}

async function rig(t: TestContext, reopen = true) {
  const server = new LosingServer();
  const { archive, content } = await server.image(PIECES);
  server.open([archive.root]);
  return { server, archive, content, ...(await serve(t, server, archive, reopen)) };
}

test('a session that is lost again and again is opened anew, and every read is right', {
  timeout: 60_000,
}, async (t) => {
  const { server, content, connect, failures } = await rig(t);
  server.lastsFor = 150;
  const reader = async (start: number): Promise<void> => {
    const client = await connect();
    for (let at = start * 200_000; at < content.length; at += 1_600_000) {
      const target = new Uint8Array(Math.min(700_000, content.length - at));
      await client.read(at, target);
      assert.ok(content.subarray(at, at + target.length).equals(target), `at ${at}`);
    }
    for await (const { offset, length, flags } of client.blockStatus('base:allocation', 0, content.length))
      assert.equal(
        flags !== 0,
        content.subarray(offset, offset + length).every((byte) => byte === 0),
        `at ${offset}`,
      );
  };
  await Promise.all(Array.from({ length: 8 }, (_, start) => reader(start)));
  assert.deepEqual(failures, []);
  assert.ok(server.openings >= 3, `${server.openings} sessions`);
});

test('many who find the session lost open it once', async (t) => {
  const { server, content, connect } = await rig(t);
  const clients = await Promise.all(Array.from({ length: 8 }, () => connect()));
  const target = new Uint8Array(KIB);
  for (const client of clients) await client.read(0, target);
  server.lose();
  await Promise.all(clients.map((client, place) => client.read((place + 1) << 20, new Uint8Array(KIB))));
  assert.equal(server.openings, 1);
  assert.ok(content.subarray(0, KIB).equals(target));
});

test('a read that loses the session in its middle goes on behind what was sent', async (t) => {
  const { server, archive, content, socketPath, failures } = await rig(t);
  // In parts, as QEMU asks: to whoever takes a read in one piece it makes no difference.
  const client = await RawClient.enter(t, socketPath, archive.name);
  // The list, the page, and the pieces of one part and a half.
  server.lastsFor = 26;
  const [start, end] = [1 << 20, 7 << 20];
  client.request(COMMAND.read, 1, start, end - start);
  for (let at = start, isLast = false; !isLast; ) {
    const chunk = await client.chunk();
    assert.equal(chunk.payload.readBigUInt64BE(0), BigInt(at), 'each byte comes once');
    const isHole = chunk.type === CHUNK.offsetHole;
    const bytes = isHole ? Buffer.alloc(chunk.payload.readUInt32BE(8)) : chunk.payload.subarray(8);
    assert.ok(content.subarray(at, at + bytes.length).equals(bytes), `at ${at}`);
    at += bytes.length;
    isLast = chunk.isLast;
    assert.equal(isLast, at === end);
  }
  assert.ok(server.openings >= 3, `${server.openings} sessions`);
  assert.deepEqual(failures, []);
});

test('a question for holes that finds the session lost is asked again in the next', async (t) => {
  const { server, content, connect, failures } = await rig(t);
  const client = await connect();
  server.lose();
  let known = 0;
  for await (const { length } of client.blockStatus('base:allocation', 0, content.length)) known += length;
  assert.equal(known, content.length);
  assert.equal(server.openings, 1);
  assert.deepEqual(failures, []);
});

test('a server that loses every session at once is not asked for one after the other', async (t) => {
  const { server, connect } = await rig(t);
  const client = await connect();
  const { open } = server;
  server.open = (roots) => {
    open.call(server, roots);
    server.lose();
  };
  server.lose();
  client.read(70_000, new Uint8Array(KIB)).catch(() => undefined);
  await sleep(500);
  assert.ok(server.openings <= 2, `${server.openings} sessions in half a second`);
});

test('what a client wants to have ready is loaded', { timeout: 10_000 }, async (t) => {
  const { server, archive, content, socketPath } = await rig(t);
  const client = await RawClient.enter(t, socketPath, archive.name);
  client.request(COMMAND.read, 1, 0, KIB);
  assert.equal((await client.chunk()).cookie, 1n);
  const before = PIECES.slice(0, 500).reduce((sum, piece) => sum + piece.length, 0);
  const loaded = new Promise<void>((resolve) => {
    const { get } = server;
    server.get = (id) => {
      const object = get.call(server, id);
      if (content.subarray(before, before + object.payload.length).equals(object.payload)) resolve();
      return object;
    };
  });
  client.request(COMMAND.cache, 2, before, KIB);
  await loaded;
});

test('while the session cannot be opened anew reads wait, and it is told why', async (t) => {
  const { server, content, connect, failures, waits } = await rig(t);
  const client = await connect();
  server.away = 2;
  server.lose();
  const target = new Uint8Array(KIB);
  await client.read(70_000, target);
  assert.ok(content.subarray(70_000, 70_000 + KIB).equals(target));
  assert.deepEqual(waits, ['the server is away', 'the server is away']);
  assert.deepEqual(failures, [], 'no read was refused');
});

test('a read that waits when the serving ends is not answered: an error would reach the guest', async (t) => {
  const { server, connect, close } = await rig(t);
  const client = await connect();
  server.away = Number.POSITIVE_INFINITY;
  server.lose();
  const read = client.read(70_000, new Uint8Array(KIB));
  const outcome = read.then(
    () => 'read',
    (error: Error) => error.message,
  );
  await sleep(100);
  await close();
  assert.match(await outcome, /closed the connection|connection/);
  assert.doesNotMatch(await outcome, /EIO|ESHUTDOWN/);
});

test('what is lost of the objects is told at once, and no session is opened for it', async (t) => {
  const { server, connect, failures } = await rig(t);
  for (const [id, { refs }] of server.objects) if (refs.length === 0) server.bad.add(id);
  const client = await connect();
  await assert.rejects(client.read(70_000, new Uint8Array(KIB)));
  server.lose();
  await assert.rejects(client.read(70_000, new Uint8Array(KIB)));
  assert.equal(server.openings, 1);
  assert.deepEqual(
    failures.map((error) => (error as HoldfastError).code),
    ['object-missing', 'object-missing'],
  );
});

test('a server that loses each new session is tried again, and a directory, which has none, is not', async (t) => {
  const { server, connect } = await rig(t);
  const client = await connect();
  const { open } = server;
  let left = 2;
  server.open = (roots) => {
    open.call(server, roots);
    if (left-- > 0) server.lose();
  };
  server.lose();
  await client.read(70_000, new Uint8Array(KIB));
  assert.equal(server.openings, 3);
  const local = await rig(t, false);
  const other = await local.connect();
  local.server.lose();
  await assert.rejects(other.read(70_000, new Uint8Array(KIB)), /EIO/);
  assert.equal((local.failures[0] as HoldfastError).code, 'session-gone');
});

test('once it is closed its threads are asked for nothing more, also when it was reading ahead', async (t) => {
  const { server, connect, close, failures } = await rig(t);
  const { call } = server.pool;
  const secondPage = [...server.objects].filter(([, { kind }]) => kind === Kind.page)[1]![0];
  let open = (): void => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  let asked: string[] = [];
  server.pool.call = async <Result>(thread: number, method: string, argument: unknown): Promise<Result> => {
    asked.push(method);
    const isHeld =
      method === 'store.read' && Buffer.from((argument as { id: Buffer }).id).toString('hex') === secondPage;
    if (isHeld) await gate;
    return await call<Result>(thread, method, argument);
  };
  const client = await connect();
  await client.read(PAGE_BYTES - (1 << 20), new Uint8Array(600 * KIB));
  assert.deepEqual(
    asked.filter((method) => method === 'store.read'),
    ['store.read', 'store.read', 'store.read'],
    'the root, the page, and that ahead of it',
  );
  await close();
  asked = [];
  open();
  await sleep(50);
  assert.deepEqual(asked, []);
  assert.deepEqual(failures, []);
});

test('disks that are served one after the other have the same memory, two at once do not', async (t) => {
  const { server, archive } = await rig(t);
  const { all } = server.pool;
  const slabs: unknown[] = [];
  server.pool.all = async <Result>(method: string, argument: unknown): Promise<Result[]> => {
    slabs.push(argument);
    return await all<Result>(method, argument);
  };
  const first = await serve(t, server, archive);
  await first.close();
  const second = await serve(t, server, archive);
  const beside = await serve(t, server, archive);
  const [of1, of2, ofBeside] = slabs;
  assert.ok(of1 === of2);
  assert.ok(of2 !== ofBeside);
  await Promise.all([second.close(), beside.close()]);
});

test('its exports are the images of the snapshot', async (t) => {
  const { server, archive } = await rig(t);
  const blob: Archive = { ...archive, name: 'qemu-server.conf', kind: 'blob' };
  const { connect } = await serve(t, server, archive, true, [archive, blob]);
  await assert.rejects(connect('qemu-server.conf'), /has no NBD export/);
  await assert.rejects(connect('other.img'), /has no NBD export/);
  const client = await connect(archive.name);
  await client.read(0, new Uint8Array(KIB));
});

test('what was learned in a session that is lost is asked for in no later one', async (t) => {
  const server = new LosingServer();
  const { archive, content } = await server.image(PIECES);
  server.open([archive.root]);
  const pages = [...server.objects].filter(([, { kind }]) => kind === Kind.page).map(([hex]) => hex);
  // The answer that names what would be asked for next comes once the new session is open, in which nothing was read yet.
  for (const late of [archive.root, pages[1]!]) {
    let open = (): void => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const { call } = server.pool;
    let isHeld = false;
    server.pool.call = async <Result>(thread: number, method: string, argument: unknown): Promise<Result> => {
      const result = await call<Result>(thread, method, argument);
      if (method !== 'store.read' || Buffer.from((argument as { id: Buffer }).id).toString('hex') !== late)
        return result;
      if (!isHeld) {
        isHeld = true;
        await gate;
      }
      return result;
    };
    const reopen = async (): Promise<void> => {
      await server.reopen();
      open();
      await sleep(50);
    };
    const { connect, failures } = await serve(t, server, archive, reopen);
    const [one, other] = [await connect(), await connect()];
    const target = new Uint8Array(KIB);
    const reading = one.read(20 << 20, target);
    while (!isHeld) await sleep(1);
    server.lose();
    await other.read(1 << 20, new Uint8Array(KIB));
    await reading;
    assert.ok(content.subarray(20 << 20, (20 << 20) + KIB).equals(target));
    assert.deepEqual(failures, []);
    server.pool.call = call;
    server.open([archive.root]);
  }
});
