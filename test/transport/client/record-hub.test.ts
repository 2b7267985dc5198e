// The hub with threads of the real worker program and lines that are fakes: order, room, questions that cross records on their way.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createCodec } from '../../../src/chunker/create-codec.ts';
import { Kind, type ObjectId, type StoredObject } from '../../../src/chunker/object.ts';
import { readRecordHeader, recordRefs } from '../../../src/chunker/record.ts';
import type { BulkLine } from '../../../src/transport/client/bulk-line.ts';
import { eachFrame } from '../../../src/transport/client/frames.ts';
import { MAX_UNANSWERED_BYTES } from '../../../src/transport/client/hub-link.ts';
import { RecordHub } from '../../../src/transport/client/record-hub.ts';
import { SentIds } from '../../../src/transport/client/sent-ids.ts';
import { SessionKeeper } from '../../../src/transport/client/session-keeper.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import type { WorkerPool } from '../../../src/util/worker-pool.ts';
import { frame } from './memory-server.ts';
import { hexIds } from './memory-store.ts';
import { startThreads } from './remote-rig.ts';

const codec = createCodec(undefined);
const SESSION = 'a'.repeat(32);
const NO_REFS = new Uint8Array(0);

/** One listener a signal, however often it is asked. */
const waiting = new WeakMap<AbortSignal, Promise<void>>();
function aborted(signal: AbortSignal): Promise<void> {
  let wait = waiting.get(signal);
  if (wait === undefined) {
    wait = new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    waiting.set(signal, wait);
  }
  return wait;
}

/** Lines to one map of records; `gate` holds every put until it is opened. */
class FakeBulk {
  readonly records = new Map<string, Buffer>();
  /** Ids that were asked about. */
  readonly asked: string[] = [];
  /** Records that came. */
  taken = 0;
  /** Whether memory was offered for each answer to get. */
  readonly offered: boolean[] = [];
  gate: Promise<void> = Promise.resolve();
  puts = 0;
  largestBody = 0;
  failure: Error | undefined;

  line(): BulkLine {
    return {
      have: async (_access: unknown, ids: Uint8Array) => {
        const bitmap = new Uint8Array(Math.ceil(ids.length / 256));
        this.asked.push(...hexIds(ids));
        for (const [place, id] of hexIds(ids).entries())
          if (this.records.has(id)) bitmap[place >> 3] |= 1 << (place & 7);
        return bitmap;
      },
      put: async (_access: unknown, bodies: readonly Uint8Array[], _records: number, signal: AbortSignal) => {
        this.puts++;
        await Promise.race([this.gate, aborted(signal)]);
        signal.throwIfAborted();
        await sleep(Math.random() * 3);
        if (this.failure !== undefined) throw this.failure;
        this.largestBody = Math.max(
          this.largestBody,
          bodies.reduce((sum, body) => sum + body.length, 0),
        );
        for (const body of bodies) for (const { record } of eachFrame(body)) this.#take(Buffer.from(record));
      },
      get: async (_access: unknown, ids: Uint8Array, { into }: { into?: Uint8Array }) => {
        this.offered.push(into !== undefined);
        const frames = Buffer.concat(hexIds(ids).flatMap((id) => frame(this.records.get(id) ?? Buffer.alloc(0))));
        if (into === undefined || frames.length > into.length) return new Uint8Array(frames);
        into.set(frames);
        return into.subarray(0, frames.length);
      },
      close: async () => {},
    } as unknown as BulkLine;
  }

  #take(record: Buffer): void {
    const header = readRecordHeader(record);
    assert.ok(header !== undefined);
    for (const ref of hexIds(recordRefs(record, header)))
      if (!this.records.has(ref)) throw new HoldfastError('out-of-scope', `child ${ref} is not there`);
    this.taken++;
    this.records.set(record.subarray(24, 56).toString('hex'), record);
  }
}

async function rig(
  t: TestContext,
  threads = 2,
  lines = 2,
  { sentIds, kind = 'backup' }: { sentIds?: SharedArrayBuffer; kind?: 'backup' | 'read' } = {},
) {
  const bulk = new FakeBulk();
  const pool = startThreads(t, threads);
  const stop = new AbortController();
  const access = { session: SESSION, token: 't', origin: 'https://h:1' };
  const hub = new RecordHub({
    keeper: new SessionKeeper(async () => access),
    openLine: () => bulk.line(),
    lines,
    limits: { haveIds: 100, getIds: 100, putBytes: 1 << 26 },
    patienceMs: 1000,
    signal: stop.signal,
    kind,
  });
  t.after(() => hub.close());
  const terms = { key: undefined, compressionLevel: 1, isThorough: false, sentIds };
  await hub.join(pool, { session: SESSION, space: 0, ...terms });
  return { bulk, pool, hub, stop };
}

const put = async (pool: WorkerPool, thread: number, kind: number, refs: Uint8Array, payload: Uint8Array) =>
  Buffer.from(await pool.call<Uint8Array>(thread, 'store.put', { session: SESSION, kind, refs, payload })) as ObjectId;

const noise = (length: number): Buffer => randomBytes(length);

test('objects of all threads arrive, each behind what it names', async (t) => {
  const { bulk, pool, hub } = await rig(t, 3, 3);
  const wanted = new Map<string, StoredObject>();
  const made: ObjectId[] = [];
  await Promise.all(
    Array.from({ length: 6 }, async (_, lane) => {
      for (let turn = 0; turn < 60; turn++) {
        const known = Math.min(made.length, turn % 4);
        const refs = Buffer.concat(Array.from({ length: known }, () => made[Math.floor(Math.random() * made.length)]));
        const object = { kind: known === 0 ? Kind.data : Kind.page, refs, payload: noise(1 + ((turn * 37) % 3000)) };
        const id = await put(pool, (lane + turn) % 3, object.kind, refs, object.payload);
        made.push(id);
        wanted.set(id.toString('hex'), object);
      }
    }),
  );
  await hub.drained();
  assert.equal(hub.bytesUnanswered, 0);
  assert.deepEqual([...bulk.records.keys()].sort(), [...wanted.keys()].sort());
  for (const [id, { refs, payload }] of wanted) {
    const opened = codec.open(bulk.records.get(id) as Buffer, Buffer.from(id, 'hex'));
    assert.deepEqual([opened.refs, opened.payload], [refs, payload]);
  }
  assert.ok(bulk.puts < wanted.size, 'what waits together goes together');
});

test('a server that takes nothing holds threads back, and memory is bounded', async (t) => {
  const { bulk, pool, hub } = await rig(t, 2);
  let open = (): void => {};
  bulk.gate = new Promise((resolve) => {
    open = resolve;
  });
  let done = 0;
  const puts = Array.from({ length: 60 }, async (_, place) => {
    await put(pool, place % 2, Kind.blob, NO_REFS, noise(600 * 1024));
    done++;
  });
  let most = 0;
  for (let before = -1; before !== done || done === 0; ) {
    before = done;
    await sleep(700);
    most = Math.max(most, hub.bytesUnanswered);
  }
  assert.ok(done < 40, `${done} of 60 were taken although nothing was answered`);
  assert.ok(most > MAX_UNANSWERED_BYTES && most <= 2 * MAX_UNANSWERED_BYTES, `${most} bytes`);
  open();
  await Promise.all(puts);
  await hub.drained();
  assert.equal(bulk.records.size, 60);
  assert.ok(bulk.largestBody <= 4.1 * 1024 * 1024, `${bulk.largestBody}`);
});

test('shared memory is used again only when all that lies in it was answered', async (t) => {
  const { bulk, pool, hub } = await rig(t, 1, 4);
  const wanted = new Map<string, Buffer>();
  // More than all pieces hold.
  await Promise.all(
    Array.from({ length: 90 }, async (_, place) => {
      const payload = noise(300 * 1024 + place);
      const id = await put(pool, 0, Kind.data, NO_REFS, payload);
      wanted.set(id.toString('hex'), payload);
    }),
  );
  await hub.drained();
  assert.equal(bulk.records.size, wanted.size);
  for (const [id, payload] of wanted)
    assert.ok(payload.equals(codec.open(bulk.records.get(id) as Buffer, Buffer.from(id, 'hex')).payload));
});

test('an object that is on its way is known, and can be read once it arrived', async (t) => {
  const { bulk, pool, hub } = await rig(t, 2, 2);
  let open = (): void => {};
  bulk.gate = new Promise((resolve) => {
    open = resolve;
  });
  const id = await put(pool, 0, Kind.data, NO_REFS, Buffer.from('on its way'));
  // The other thread has not put it itself: it has to ask.
  const page = await put(pool, 1, Kind.page, id, Buffer.from('page'));
  const read = pool.call<StoredObject>(1, 'store.get', { session: SESSION, id });
  await sleep(50);
  assert.equal(bulk.records.size, 0);
  open();
  assert.deepEqual(Buffer.from((await read).payload).toString(), 'on its way');
  await hub.drained();
  assert.ok(bulk.records.has(page.toString('hex')));
});

test('where nothing is in scope, only what another thread has put, and what names that, is asked about', async (t) => {
  const { bulk, pool, hub } = await rig(t, 2, 2, { sentIds: new SentIds().buffer });
  const payload = noise(5000);
  const own = await put(pool, 0, Kind.data, NO_REFS, payload);
  const page = await put(pool, 0, Kind.page, own, Buffer.from('page'));
  await put(pool, 0, Kind.page, own, Buffer.from('page'));
  await hub.drained();
  assert.deepEqual(bulk.asked, []);
  const list = await put(pool, 1, Kind.list, page, Buffer.from('list'));
  await put(pool, 1, Kind.page, own, Buffer.from('page'));
  await put(pool, 1, Kind.data, NO_REFS, payload);
  await hub.drained();
  assert.deepEqual([...new Set(bulk.asked)].sort(), [own, list, page].map((id) => id.toString('hex')).sort());
  assert.equal(bulk.taken, 3, 'nothing went twice');
  assert.deepEqual([...bulk.records.keys()].sort(), [own, page, list].map((id) => id.toString('hex')).sort());
  await assert.rejects(
    () => put(pool, 1, Kind.page, Buffer.alloc(32, 7), Buffer.from('page')),
    (error: unknown) => error instanceof HoldfastError && error.code === 'out-of-scope',
  );
});

test('records of a restore come in memory that the thread lends, however long their batches are', async (t) => {
  const { bulk, pool } = await rig(t, 1, 2, { kind: 'read' });
  // Batches of 32 are under and over what an area takes.
  const chunks = Array.from({ length: 200 }, (_, place) => noise(place < 100 ? 20_000 + place : 160_000 + place));
  const pieces = chunks.map((payload) => {
    const id = codec.id(Kind.data, NO_REFS, payload);
    const target = Buffer.alloc(codec.recordBound(0, payload.length));
    bulk.records.set(
      id.toString('hex'),
      target.subarray(0, codec.encode(target, { kind: Kind.data, id, refs: NO_REFS, payload })),
    );
    return { length: payload.length, id };
  });
  const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const work = { space: 0, offset: 0, length, page: undefined, pieces, target: undefined, zeroLost: false };
  const { bytes } = await pool.call<{ bytes: ArrayBuffer }>(0, 'restore.range', work);
  assert.ok(Buffer.from(bytes).equals(Buffer.concat(chunks)));
  assert.deepEqual(
    bulk.offered,
    Array.from({ length: 7 }, () => true),
  );
});

test('what was put just now can be read in the same thread', async (t) => {
  const { pool } = await rig(t, 1, 2, { sentIds: new SentIds().buffer });
  const id = await put(pool, 0, Kind.data, NO_REFS, Buffer.from('just now'));
  const read = await pool.call<StoredObject>(0, 'store.get', { session: SESSION, id });
  assert.equal(Buffer.from(read.payload).toString(), 'just now');
});

test('what may not be named is refused where it is put', async (t) => {
  const { pool } = await rig(t);
  await assert.rejects(
    () => put(pool, 0, Kind.page, Buffer.alloc(32, 7), Buffer.from('page')),
    (error: unknown) => error instanceof HoldfastError && error.code === 'out-of-scope',
  );
  await put(pool, 0, Kind.data, NO_REFS, Buffer.from('goes on'));
});

test('an error of the server reaches threads that wait for room, and whoever commits', async (t) => {
  const { bulk, pool, hub } = await rig(t, 1);
  bulk.failure = new HoldfastError('quota-exceeded', 'full', { data: { status: 507 } });
  const isQuota = (error: unknown) => error instanceof HoldfastError && error.code === 'quota-exceeded';
  const large = () => put(pool, 0, Kind.blob, NO_REFS, noise(3 * 1024 * 1024));
  await assert.rejects(async () => {
    for (let turn = 0; turn < 10; turn++) await large();
  }, isQuota);
  await assert.rejects(() => hub.drained(), isQuota);
});

test('an abort frees a thread that waits', async (t) => {
  const { bulk, pool, stop } = await rig(t, 1);
  bulk.gate = new Promise(() => {});
  const puts = Array.from({ length: 8 }, () => put(pool, 0, Kind.blob, NO_REFS, noise(3 * 1024 * 1024)));
  await sleep(300);
  stop.abort(new HoldfastError('aborted', 'stopped by Ctrl-C'));
  const outcomes = await Promise.allSettled(puts);
  const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
  assert.ok(refused.length > 0);
  for (const { reason } of refused) assert.ok(reason instanceof HoldfastError && reason.code === 'aborted');
});
