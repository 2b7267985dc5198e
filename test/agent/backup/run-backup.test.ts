// The steps of a backup with a session and threads that are fakes: what is done in which order, and what when a step fails.
import assert from 'node:assert/strict';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChangeMap } from '../../../src/agent/backup/change-map.ts';
import { type BackupRequest, runBackup } from '../../../src/agent/backup/run-backup.ts';
import type { Base, Committed, Session } from '../../../src/agent/backup/session.ts';
import { diskCutParameters } from '../../../src/chunker/cut-parameters.ts';
import { encodeList } from '../../../src/chunker/list.ts';
import { Kind, type ObjectId, PAGE_BYTES } from '../../../src/chunker/object.ts';
import type { Archive, ClientPart, Manifest } from '../../../src/schema/manifest.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import type { WorkerPool } from '../../../src/util/worker-pool.ts';
import { scratch } from '../nbd/servers.ts';
import { MemorySink } from './memory-sink.ts';

const AVERAGE_BYTES = 64 * 1024;
const BASE_NAME = 'vm/101/2026-11-20T02:00:00Z';

class FakeSession implements Session {
  readonly id = '00'.repeat(16);
  readonly adoptedObjects = 0;
  readonly store = new MemorySink(new Uint8Array(0));
  readonly steps: string[] = [];
  bases: Base[] = [];
  onCommit: (attempt: number) => Promise<void> = async () => {};
  onSuspend: () => Promise<void> = async () => {};
  client: ClientPart | undefined;
  isFar = false;

  async put(kind: number, refs: Uint8Array, payload: Uint8Array): Promise<ObjectId> {
    return this.store.put(kind, refs, payload);
  }

  async get(id: ObjectId) {
    return this.store.get(id);
  }

  async counters() {
    return { objectsNew: 0, objectsReused: 0, bytesNew: 0, bytesStored: 0 };
  }

  async commit(client: ClientPart): Promise<Committed> {
    this.steps.push('commit');
    this.client = client;
    await this.onCommit(this.steps.filter((step) => step === 'commit').length);
    const manifest = { client: { ...client, archives: [] }, server: { space: 0, time: 0 } } as unknown as Manifest;
    return { name: { group: 'vm/101', time: 0 }, manifest, bytesStored: 0, warnings: [] };
  }

  async suspend(): Promise<void> {
    this.steps.push('suspend');
    await this.onSuspend();
  }
}

/** Threads that answer from a function instead of reading disks. */
function fakePool(answer: (method: string, argument: unknown) => unknown): WorkerPool {
  return {
    size: 2,
    call: async (_thread: number, method: string, argument: unknown) => answer(method, argument),
    all: async (method: string, argument: unknown) => [answer(method, argument)],
  } as unknown as WorkerPool;
}

/** Pages are stored as an id made of their place; nothing is read. */
const pages = (method: string, argument: unknown): unknown => {
  if (method === 'backup.page') {
    const { work } = argument as { work: { offset: number; length: number } };
    return { page: Buffer.alloc(32, 1 + work.offset / PAGE_BYTES), bytesRead: work.length };
  }
  if (method === 'backup.sample') return { bytesRead: 1000, lie: undefined, isLost: false };
  if (method === 'backup.streamBytes') {
    const { bytes } = argument as { bytes: Uint8Array };
    return bytes.length === 0 ? [] : [{ length: bytes.length, id: Buffer.alloc(32, 9) }];
  }
  return undefined;
};

function rig(t: TestContext, change: Partial<BackupRequest> = {}) {
  const disk = join(scratch(t), 'disk0.img');
  writeFileSync(disk, Buffer.alloc(3 * PAGE_BYTES + 5, 1));
  const warnings: string[] = [];
  const request: BackupRequest = {
    group: 'vm/101',
    archives: [{ name: 'disk0.img', kind: 'image', path: disk }],
    changeMap: undefined,
    time: undefined,
    averageBytes: AVERAGE_BYTES,
    key: undefined,
    stdin: Readable.from([]),
    signal: new AbortController().signal,
    onProgress: () => {},
    warn: (message) => void warnings.push(message),
    ...change,
  };
  return { request, warnings, disk, session: new FakeSession() };
}

/** A base whose list names pages of ones. */
async function makeBase(session: FakeSession, archive: Partial<Archive> = {}): Promise<Base> {
  const lengths = [PAGE_BYTES, PAGE_BYTES, PAGE_BYTES, 5];
  const entries = lengths.map((length, place) => ({
    length,
    id: Buffer.alloc(32, 0xa0 + place) as unknown as ObjectId,
  }));
  const { refs, payload } = encodeList({ childKind: Kind.page, height: 1, entries });
  const root = (await session.put(Kind.list, refs, payload)).toString('hex');
  const sizeBytes = lengths.reduce((sum, length) => sum + length);
  const cut = { ...diskCutParameters(AVERAGE_BYTES) };
  const image: Archive = { name: 'disk0.img', kind: 'image', sizeBytes, root, chunker: cut, ...archive };
  const manifest = {
    client: { backup: 'vm/101', key: null, clientTime: new Date(0).toISOString() },
    server: { time: 1_700_000_000 },
  } as unknown as Manifest;
  return { name: BASE_NAME, sequence: 4, archives: [image], manifest, damaged: [] };
}

const mapOf = (offset: number, length: number, name = 'disk0.img'): ChangeMap => ({
  base: BASE_NAME,
  disks: new Map([[name, [{ offset, length }]]]),
});

function refsOfRoot(session: FakeSession): number[] {
  const root = Buffer.from((session.client as ClientPart).archives[0].root, 'hex') as unknown as ObjectId;
  const { refs } = session.store.get(root);
  return Array.from({ length: refs.length / 32 }, (_, place) => refs[place * 32]);
}

test('a full backup stores every page, commits once and does not suspend', async (t) => {
  const { request, session, warnings } = rig(t);
  const progress: number[] = [];
  const { statistics } = await runBackup(
    { ...request, onProgress: (_, done) => void progress.push(done) },
    fakePool(pages),
    async () => session,
  );
  assert.deepEqual(session.steps, ['commit']);
  assert.deepEqual(warnings, []);
  assert.deepEqual(refsOfRoot(session), [1, 2, 3, 4]);
  assert.equal(statistics.bytesRead, 3 * PAGE_BYTES + 5);
  assert.equal(statistics.bytesLogical, 3 * PAGE_BYTES + 5);
  assert.deepEqual(progress, [PAGE_BYTES, 2 * PAGE_BYTES, 3 * PAGE_BYTES, 3 * PAGE_BYTES + 5]);
});

test('with a change map only the touched page is worked on; samples count apart', async (t) => {
  const { request, session, warnings } = rig(t, { changeMap: mapOf(PAGE_BYTES + 10, 1) });
  session.bases = [await makeBase(session)];
  const { statistics } = await runBackup(request, fakePool(pages), async () => session);
  assert.deepEqual(refsOfRoot(session), [0xa0, 2, 0xa2, 0xa3]);
  assert.equal(statistics.bytesRead, PAGE_BYTES);
  assert.equal(statistics.bytesSampled, 1000);
  assert.deepEqual(warnings, []);
  assert.deepEqual(session.client?.base, { snapshot: BASE_NAME, sequence: 4 });
});

test('a disk that has grown: what is a hole behind its old end is not read', async (t) => {
  const { request, session, disk } = rig(t, { changeMap: mapOf(0, 1) });
  session.bases = [await makeBase(session)];
  truncateSync(disk, 7 * PAGE_BYTES + 5);
  const worked: number[] = [];
  const pool = fakePool((method, argument) => {
    if (method === 'backup.page') worked.push((argument as { work: { offset: number } }).work.offset / PAGE_BYTES);
    return pages(method, argument);
  });
  await runBackup(request, pool, async () => session);
  // The one that changed, and the one that the base's last piece lies in.
  assert.deepEqual(worked, [0, 3]);
});

test('what is damaged in the base is worked on although it did not change', async (t) => {
  const { request, session } = rig(t, { changeMap: mapOf(0, 0) });
  const damaged = [
    { archive: 'disk0.img', offset: 2 * PAGE_BYTES, length: 4096 },
    { archive: 'disk1.img', offset: 0, length: 4096 },
  ];
  session.bases = [{ ...(await makeBase(session)), damaged }];
  await runBackup(request, fakePool(pages), async () => session);
  assert.deepEqual(refsOfRoot(session), [0xa0, 0xa1, 3, 0xa3]);
});

test('a change beyond the end of the disk names nothing', async (t) => {
  const { request, session } = rig(t, { changeMap: mapOf(100 * PAGE_BYTES, 4096) });
  session.bases = [await makeBase(session)];
  await runBackup(request, fakePool(pages), async () => session);
  assert.deepEqual(refsOfRoot(session), [0xa0, 0xa1, 0xa2, 0xa3]);
});

const fullReasons: Record<string, { base?: Partial<Archive>; map?: ChangeMap; warning: RegExp }> = {
  'does not name the disk': { map: mapOf(0, 1, 'disk7.img'), warning: /does not name this disk/ },
  'is on another base': {
    map: { ...mapOf(0, 1), base: 'vm/101/2026-11-19T02:00:00Z' },
    warning: /not one of the group's newest two/,
  },
  'is on a base without this disk': { base: { name: 'disk1.img' }, warning: /has no image disk0.img/ },
  'is on a base in which the disk is a stream': { base: { kind: 'stream' }, warning: /has no image disk0.img/ },
  'is on a base of another cut': {
    base: { chunker: { ...diskCutParameters(AVERAGE_BYTES), cutSeed: '00'.repeat(16) } },
    warning: /cut with other parameters/,
  },
  'is on a base of another average': {
    base: { chunker: { ...diskCutParameters(256 * 1024) } },
    warning: /cut with other parameters/,
  },
};
for (const [what, { base, map, warning }] of Object.entries(fullReasons)) {
  test(`a change map that ${what}: a warning and a full read`, async (t) => {
    const { request, session, warnings } = rig(t, { changeMap: map ?? mapOf(0, 1) });
    session.bases = [await makeBase(session, base)];
    await runBackup(request, fakePool(pages), async () => session);
    assert.deepEqual(refsOfRoot(session), [1, 2, 3, 4]);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], warning);
    assert.match(warnings[0], /^disk0\.img: read in full/);
  });
}

test('a lie that a sample finds: a warning and a full read', async (t) => {
  const { request, session, warnings } = rig(t, { changeMap: mapOf(0, 1) });
  session.bases = [await makeBase(session)];
  const lie = { bytesRead: 500, lie: { offset: 12_288, length: 500 }, isLost: false };
  const pool = fakePool((method, argument) => (method === 'backup.sample' ? lie : pages(method, argument)));
  await runBackup(request, pool, async () => session);
  assert.deepEqual(refsOfRoot(session), [1, 2, 3, 4]);
  assert.match(warnings.join(), /differs at byte 12288.*the change map is wrong, so the whole disk is read/);
});

test('a page of the base that a sample finds lost is read from the disk', async (t) => {
  const { request, session, warnings } = rig(t, { changeMap: mapOf(0, 0) });
  session.bases = [await makeBase(session)];
  const pool = fakePool((method, argument) => {
    if (method === 'backup.sample') return { bytesRead: 0, lie: undefined, isLost: true };
    return pages(method, argument);
  });
  const { statistics } = await runBackup(request, pool, async () => session);
  // One of the pages was sampled, and only that one was read.
  const refs = refsOfRoot(session);
  assert.equal(refs.filter((ref) => ref < 0xa0).length, 1, refs.join());
  assert.ok([PAGE_BYTES, 5].includes(statistics.bytesRead));
  assert.deepEqual(warnings, []);
});

test('a page that turns out lost when it is named: a warning and a full read', async (t) => {
  const { request, session, warnings } = rig(t, { changeMap: mapOf(0, 0) });
  session.bases = [await makeBase(session)];
  const put = session.put.bind(session);
  session.put = async (kind, refs, payload) => {
    if (refs[0] === 0xa0) throw new HoldfastError('out-of-scope', 'object a0a0 is named');
    return await put(kind, refs, payload);
  };
  await runBackup(request, fakePool(pages), async () => session);
  assert.deepEqual(refsOfRoot(session), [1, 2, 3, 4]);
  assert.match(warnings.join(), /the whole disk is read/);
});

test('a base whose list is lost: a warning and a full read', async (t) => {
  const { request, session, warnings } = rig(t, { changeMap: mapOf(0, 1) });
  session.bases = [await makeBase(session, { root: '77'.repeat(32) })];
  await runBackup(request, fakePool(pages), async () => session);
  assert.deepEqual(refsOfRoot(session), [1, 2, 3, 4]);
  assert.match(warnings.join(), /no object 7777.*the whole disk is read/);
});

test('a full read far away expects the pages of the base, as far as its lists are there', async (t) => {
  const expectedOf = async (change: Partial<Archive>, get?: FakeSession['get']) => {
    const { request, session, warnings } = rig(t);
    session.isFar = true;
    session.bases = [await makeBase(session, change)];
    if (get !== undefined) session.get = get;
    const expected: (number | undefined)[] = [];
    const pool = fakePool((method, argument) => {
      if (method === 'backup.page') {
        const { work } = argument as { work: { offset: number; expected?: Buffer } };
        expected[work.offset / PAGE_BYTES] = work.expected?.[0];
      }
      return pages(method, argument);
    });
    await runBackup(request, pool, async () => session);
    assert.deepEqual(refsOfRoot(session), [1, 2, 3, 4], 'all is read all the same');
    assert.deepEqual(warnings, []);
    return expected;
  };
  assert.deepEqual(await expectedOf({}), [0xa0, 0xa1, 0xa2, 0xa3]);
  assert.deepEqual(await expectedOf({ root: '77'.repeat(32) }), [undefined, undefined, undefined, undefined]);
  const unreachable = async (): Promise<never> => {
    throw new HoldfastError('server-unreachable', 'nobody answers');
  };
  await assert.rejects(expectedOf({}, unreachable), { code: 'server-unreachable' });
});

test('a full read that loses an object is not tried again', async (t) => {
  const { request, session, warnings } = rig(t);
  const pool = fakePool((method, argument) => {
    if (method === 'backup.page') throw new HoldfastError('object-damaged', 'gone');
    return pages(method, argument);
  });
  await assert.rejects(
    runBackup(request, pool, async () => session),
    /gone/,
  );
  assert.deepEqual(session.steps, ['suspend']);
  assert.deepEqual(warnings, []);
});

test('a commit that finds damage reads the disks in full, once, and commits again', async (t) => {
  const { request, session, warnings } = rig(t, { changeMap: mapOf(0, 1) });
  session.bases = [await makeBase(session)];
  session.onCommit = async (attempt) => {
    if (attempt === 1) throw new HoldfastError('object-damaged', 'found damaged while it ran');
  };
  const { statistics } = await runBackup(request, fakePool(pages), async () => session);
  assert.deepEqual(session.steps, ['commit', 'commit']);
  assert.deepEqual(refsOfRoot(session), [1, 2, 3, 4]);
  assert.equal(statistics.bytesRead, 4 * PAGE_BYTES + 5, 'both reads count');
  assert.match(warnings.join(), /read in full/);
});

test('standard input cannot be read again: a commit that finds damage fails then, rather than store nothing', async (t) => {
  const archives = [{ name: 'disk0.img', kind: 'image', path: '-' }] as const;
  const { request, session } = rig(t, { archives, stdin: Readable.from([Buffer.from('data')]) });
  session.onCommit = async () => {
    throw new HoldfastError('object-damaged', 'found damaged while it ran');
  };
  await assert.rejects(
    runBackup(request, fakePool(pages), async () => session),
    /found damaged/,
  );
  assert.deepEqual(session.steps, ['commit', 'suspend']);
});

test('a failure that comes again when the session is suspended is said as it was first', async (t) => {
  const { request, session } = rig(t);
  session.onSuspend = async () => {
    throw new HoldfastError('pack-condemned', 'the consequence');
  };
  session.onCommit = async () => {
    throw new HoldfastError('disk-full', 'the cause');
  };
  await assert.rejects(
    runBackup(request, fakePool(pages), async () => session),
    /the cause/,
  );
});

test('a missing disk is found before a session is opened', async (t) => {
  const { request } = rig(t);
  const archives = [...request.archives, { name: 'disk1.img', kind: 'image', path: '/nowhere/disk' }] as const;
  const opened = runBackup({ ...request, archives }, fakePool(pages), () => assert.fail('a session was opened'));
  await assert.rejects(opened, (error: HoldfastError) => error.code === 'not-found');
});

test('an abort while standard input is silent ends the backup at once', async (t) => {
  const controller = new AbortController();
  const archives = [{ name: 'disk0.img', kind: 'image', path: '-' }] as const;
  const stdin = new PassThrough();
  stdin.write('a beginning');
  const { request, session } = rig(t, { archives, stdin, signal: controller.signal });
  const running = runBackup(request, fakePool(pages), async () => session);
  await sleep(20);
  controller.abort(new HoldfastError('aborted', 'stopped by SIGINT'));
  const late = sleep(3000).then(() => assert.fail('it still waits for standard input'));
  await assert.rejects(Promise.race([running, late]), /stopped by SIGINT/);
  assert.deepEqual(session.steps, ['suspend']);
});

test('after an abort the reason is told, not what broke because of it', async (t) => {
  const controller = new AbortController();
  const { request, session } = rig(t, { signal: controller.signal });
  const pool = fakePool((method, argument) => {
    if (method !== 'backup.page') return pages(method, argument);
    controller.abort(new HoldfastError('aborted', 'stopped by SIGINT'));
    throw new HoldfastError('source-failed', 'the server went away');
  });
  await assert.rejects(
    runBackup(request, pool, async () => session),
    /stopped by SIGINT/,
  );
});

test('a stream that breaks is a failed source', async (t) => {
  const archives = [{ name: 'disk0.img', kind: 'image', path: '-' }] as const;
  const broken = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.from('data');
    throw new Error('EIO: i/o error, read');
  };
  const { request, session } = rig(t, { archives, stdin: Readable.from(broken()) });
  await assert.rejects(
    runBackup(request, fakePool(pages), async () => session),
    (error: HoldfastError) => error.code === 'source-failed' && /standard input failed: EIO/.test(error.message),
  );
});

test('a disk that changes its size while it is read makes no snapshot', async (t) => {
  const { request, session, disk } = rig(t);
  const pool = fakePool((method, argument) => {
    if (method === 'backup.page') writeFileSync(disk, 'short');
    return pages(method, argument);
  });
  await assert.rejects(
    runBackup(request, pool, async () => session),
    (error: HoldfastError) => error.code === 'source-changed',
  );
  assert.deepEqual(session.steps, ['suspend']);
});
