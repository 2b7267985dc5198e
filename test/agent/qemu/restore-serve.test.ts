// Disks that are served while their session is lost again and again: whoever reads gets the right bytes, or learns of what no new session would mend.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { NbdClient } from '../../../src/agent/nbd/client.ts';
import { serveSnapshot } from '../../../src/agent/qemu/restore-serve.ts';
import type { LoadWork } from '../../../src/agent/serve/load-pieces.ts';
import { ID_BYTES, type StoredObject } from '../../../src/chunker/object.ts';
import type { Archive } from '../../../src/schema/manifest.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import type { WorkerPool } from '../../../src/util/worker-pool.ts';
import { scratch } from '../nbd/servers.ts';
import { MemoryStore, type Piece } from '../serve/rig.ts';

const KIB = 1024;
const PIECES: readonly Piece[] = Array.from({ length: 600 }, (_, place) => ({
  length: 64 * KIB + place,
  seed: place % 7 === 0 ? undefined : place,
}));

/** A session at a server: what may be read in it is its roots, and what was named by something read in it. */
class Server extends MemoryStore {
  openings = 0;
  /** How many openings fail. */
  away = 0;
  /** After how many objects that were read the session is lost. */
  lastsFor = Number.POSITIVE_INFINITY;
  #read = 0;
  #readable = new Set<string>();
  #isOpen = true;
  #roots: readonly string[] = [];
  #slab = new SharedArrayBuffer(0);
  #turn: Promise<unknown> = Promise.resolve();

  /** One thread, which does one thing after the other. */
  readonly pool = {
    size: 1,
    call: (_: number, method: string, argument: unknown) => this.#inTurn(() => this.#do(method, argument)),
    all: async (method: string, argument: unknown) => [await this.#inTurn(() => this.#do(method, argument))],
  } as unknown as WorkerPool;

  open(roots: readonly string[]): void {
    this.#roots = roots;
    this.#readable = new Set(roots);
    this.#isOpen = true;
    this.#read = 0;
  }

  lose(): void {
    this.#isOpen = false;
  }

  readonly reopen = async (): Promise<void> => {
    this.openings++;
    await sleep(1);
    if (this.away-- > 0) throw new HoldfastError('server-unreachable', 'the server is away');
    await this.#inTurn(async () => this.open(this.#roots));
  };

  override get(id: Uint8Array): StoredObject {
    if (!this.#isOpen) throw new HoldfastError('session-gone', 'the session is gone');
    if (!this.#readable.has(Buffer.from(id).toString('hex'))) throw new HoldfastError('object-missing', 'not readable');
    if (++this.#read > this.lastsFor) this.lose();
    const object = super.get(id);
    for (let at = 0; at < object.refs.length; at += ID_BYTES)
      this.#readable.add(Buffer.from(object.refs.subarray(at, at + ID_BYTES)).toString('hex'));
    return object;
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async #do(method: string, argument: unknown): Promise<unknown> {
    await sleep(0);
    if (method === 'serve.slab') this.#slab = argument as SharedArrayBuffer;
    else if (method === 'serve.load') return await this.load(this.#slab, argument as LoadWork);
    else return this.get((argument as { id: Uint8Array }).id);
    return undefined;
  }
}

async function serve(t: TestContext, server: Server, archive: Archive, reopen = true) {
  const failures: Error[] = [];
  const snapshot = { name: 'vm/1/now', archives: [archive], space: 0, pool: server.pool, get: () => assert.fail() };
  const socketPath = join(scratch(t), 's');
  const served = await serveSnapshot(
    { ...snapshot, reopen: reopen ? server.reopen : undefined },
    socketPath,
    (error) => void failures.push(error),
  );
  t.after(() => served.close().catch(() => undefined));
  const connect = async (): Promise<NbdClient> => {
    const client = await NbdClient.connect({ socketPath, exportName: archive.name, metaContexts: ['base:allocation'] });
    t.after(() => client.close());
    return client;
  };
  return { connect, failures, close: () => served.close() };
}

async function rig(t: TestContext, reopen = true) {
  const server = new Server();
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
  const clients = await Promise.all(Array.from({ length: 8 }, connect));
  const target = new Uint8Array(KIB);
  for (const client of clients) await client.read(0, target);
  server.lose();
  await Promise.all(clients.map((client, place) => client.read((place + 1) << 20, new Uint8Array(KIB))));
  assert.equal(server.openings, 1);
  assert.ok(content.subarray(0, KIB).equals(target));
});

test('while the session cannot be opened anew reads wait, and it is told why', async (t) => {
  const { server, content, connect, failures } = await rig(t);
  const client = await connect();
  server.away = 2;
  server.lose();
  const target = new Uint8Array(KIB);
  await client.read(70_000, target);
  assert.ok(content.subarray(70_000, 70_000 + KIB).equals(target));
  assert.deepEqual(
    failures.map(({ message }) => message),
    ['the server is away', 'the server is away'],
  );
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
