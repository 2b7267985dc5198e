// The NBD server on the wire: every option and request, well-formed and hostile, against disks in memory.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, linkSync, renameSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { NbdClient } from '../../../src/agent/nbd/client.ts';
import * as nbd from '../../../src/agent/nbd/protocol.ts';
import type { DiskSession, ReadPart, ServedDisk, ServedExports } from '../../../src/agent/nbd/served-disk.ts';
import { MAX_CONNECTIONS, NbdServer, type NbdServerOptions } from '../../../src/agent/nbd/server.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { u } from './fake-server.ts';
import { RawClient } from './raw-client.ts';
import { type Ending, pattern, scratch } from './servers.ts';

const KiB = 1024;
const HOLE = nbd.STATE_HOLE | nbd.STATE_ZERO;

/** 64 KiB of data, a hole of 64 KiB, 1,000 bytes of data; byte 70,000 on the disk `bad` is where reading fails. */
const CONTENT = Buffer.concat([pattern(64 * KiB, 1), Buffer.alloc(64 * KiB), pattern(1000, 2)]);
const BAD_BYTE = 70_000;

class MemoryDisk implements ServedDisk {
  readonly label: string;
  readonly sizeBytes = CONTENT.length;
  readonly isFixed: boolean;
  /** Reads that have begun. */
  asked = 0;
  held = 0;
  mostHeld = 0;
  /** Reads wait for it. */
  gate: Promise<void> = Promise.resolve();

  constructor(label: string) {
    this.label = label;
    this.isFixed = label !== 'latest';
  }

  connect(): DiskSession {
    return {
      read: (offset, length) => this.#read(offset, length),
      extents: async (offset, length, onlyFirst) => {
        const all = [
          { offset: 0, length: 64 * KiB, flags: 0 },
          { offset: 64 * KiB, length: 64 * KiB, flags: HOLE },
          { offset: 128 * KiB, length: 1000, flags: 0 },
        ];
        const cut = all
          .map((each) => {
            const start = Math.max(each.offset, offset);
            return { ...each, offset: start, length: Math.min(each.offset + each.length, offset + length) - start };
          })
          .filter((each) => each.length > 0);
        return onlyFirst ? cut.slice(0, 1) : cut;
      },
      prefetch: () => {},
    };
  }

  async *#read(offset: number, length: number): AsyncGenerator<ReadPart> {
    this.asked++;
    for (let at = offset; at < offset + length; ) {
      await this.gate;
      const stop = Math.min(offset + length, (Math.floor(at / (64 * KiB)) + 1) * 64 * KiB);
      if (this.label === 'bad' && at <= BAD_BYTE && BAD_BYTE < stop)
        throw new HoldfastError('object-damaged', `bad: byte ${BAD_BYTE} cannot be read`);
      this.held++;
      this.mostHeld = Math.max(this.mostHeld, this.held);
      const isHole = at >= 64 * KiB && at < 128 * KiB;
      const middle = Math.floor((at + stop) / 2);
      const views = isHole ? undefined : [CONTENT.subarray(at, middle), CONTENT.subarray(middle, stop)];
      yield { offset: at, length: stop - at, views, release: () => void this.held-- };
      at = stop;
    }
  }
}

interface Rig {
  readonly path: string;
  readonly server: NbdServer;
  readonly disks: Readonly<Record<string, MemoryDisk>>;
  readonly reports: string[];
}

async function rig(t: Ending, limits: NbdServerOptions['limits'] = {}): Promise<Rig> {
  const path = join(scratch(t), 's');
  const reports: string[] = [];
  const disks = { good: new MemoryDisk('good'), bad: new MemoryDisk('bad'), latest: new MemoryDisk('latest') };
  const exports: ServedExports = {
    list: async () => ['good', 'bad'],
    open: async (name) => {
      if (name === 'broken') throw new HoldfastError('manifest-altered', 'the manifest was altered');
      return disks[name as keyof typeof disks];
    },
  };
  const report = (message: string): void => void reports.push(message);
  const server = await NbdServer.listen({ address: { socketPath: path }, exports, limits, report });
  t.after(async () => await server.close());
  return { path, server, disks, reports };
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const errorOf = (number: number): number => nbd.OPTION_ERROR + number;

/** Reads through structured replies: the bytes, holes as zeros, or the error's number. */
async function readBack(client: RawClient, offset: number, length: number, flags = 0): Promise<Buffer | number> {
  client.request(nbd.COMMAND.read, 7, offset, length, flags);
  const target = Buffer.alloc(length, 0xee);
  for (;;) {
    const { type, isLast, cookie, payload } = await client.chunk();
    assert.equal(cookie, 7n);
    if (type === nbd.CHUNK_ERROR) {
      assert.ok(isLast);
      assert.ok(nbd.decodeErrorChunk(payload)!.message.length > 5);
      return payload.readUInt32BE(0);
    }
    const at = Number(payload.readBigUInt64BE(0)) - offset;
    if (type === nbd.CHUNK.offsetHole) target.fill(0, at, at + payload.readUInt32BE(8));
    else target.set(payload.subarray(8), at);
    if (isLast) return target;
  }
}

test('LIST names the exports, INFO and GO tell size, flags, name and block sizes as asked', async (t) => {
  const { path } = await rig(t);
  const client = await RawClient.connect(t, path);
  const names = await client.option(nbd.OPTION.list);
  assert.deepEqual(
    names.map(({ type, payload }) => [type, payload.subarray(4).toString()]),
    [
      [nbd.REPLY.server, 'good'],
      [nbd.REPLY.server, 'bad'],
      [nbd.REPLY.ack, ''],
    ],
  );
  const { hasFlags, readOnly, sendFlush, sendCache, sendDoNotFragment, multipleConnections } = nbd.TRANSMISSION;
  const always = hasFlags | readOnly | sendFlush | sendCache;
  const asked = (name: string, ...infos: number[]): Buffer =>
    Buffer.concat([
      u([32, name.length]),
      Buffer.from(name),
      u([16, infos.length]),
      ...infos.map((each) => u([16, each])),
    ]);
  const plain = await client.option(nbd.OPTION.info, asked('latest'));
  assert.deepEqual(
    plain.map(({ payload }) => payload.toString('hex')),
    [u([16, nbd.INFO.export], [64, CONTENT.length], [16, always]).toString('hex'), ''],
    'without structured replies no DF, and `latest` may change between connections',
  );
  await client.option(nbd.OPTION.structuredReply);
  const all = await client.option(
    nbd.OPTION.go,
    asked('good', nbd.INFO.name, nbd.INFO.description, nbd.INFO.blockSize),
  );
  assert.deepEqual(
    all.map(({ payload }) => payload.toString('hex')),
    [
      u([16, nbd.INFO.export], [64, CONTENT.length], [16, always | sendDoNotFragment | multipleConnections]),
      Buffer.concat([u([16, nbd.INFO.name]), Buffer.from('good')]),
      Buffer.concat([u([16, nbd.INFO.description]), Buffer.from('good')]),
      u([16, nbd.INFO.blockSize], [32, 1], [32, 65_536], [32, 32 << 20]),
      Buffer.alloc(0),
    ].map((bytes) => bytes.toString('hex')),
  );
  client.request(nbd.COMMAND.flush, 1, 0, 0);
  assert.equal((await client.simple()).errno, 0);
});

test('options that are unknown, malformed, too long or of no export are answered, and the handshake goes on', async (t) => {
  const { path, reports } = await rig(t);
  const client = await RawClient.connect(t, path);
  const answer = async (option: number, data?: Uint8Array): Promise<number> =>
    ((await client.option(option, data)).at(-1) as { type: number }).type;
  assert.equal(await answer(5), errorOf(nbd.OPTION_ERROR_UNSUPPORTED), 'STARTTLS');
  assert.equal(await answer(4711, Buffer.from('x')), errorOf(nbd.OPTION_ERROR_UNSUPPORTED));
  assert.equal(await answer(nbd.OPTION.list, Buffer.from('x')), errorOf(nbd.OPTION_ERROR_INVALID));
  assert.equal(await answer(nbd.OPTION.structuredReply, Buffer.from('x')), errorOf(nbd.OPTION_ERROR_INVALID));
  for (const malformed of ['', '00000004', '00000004676f6f64', '00000004676f6f640001', 'ffffffff676f6f640000'])
    assert.equal(
      await answer(nbd.OPTION.go, Buffer.from(malformed, 'hex')),
      errorOf(nbd.OPTION_ERROR_INVALID),
      malformed,
    );
  assert.equal(await answer(nbd.OPTION.go, new Uint8Array(70_000)), errorOf(nbd.OPTION_ERROR_TOO_BIG));
  assert.equal(await answer(nbd.OPTION.go, nbd.encodeGo('none')), errorOf(nbd.OPTION_ERROR_UNKNOWN));
  assert.deepEqual(reports, []);
  assert.equal(await answer(nbd.OPTION.go, nbd.encodeGo('broken')), errorOf(nbd.OPTION_ERROR_PLATFORM));
  assert.deepEqual(reports, ['the manifest was altered']);
  assert.equal(await answer(nbd.OPTION.go, nbd.encodeGo('good')), nbd.REPLY.ack);
});

test('meta contexts: base:allocation alone, after structured replies, and only for the export that is entered', async (t) => {
  const { path } = await rig(t);
  const client = await RawClient.connect(t, path);
  const ask = async (option: number, name: string, ...queries: string[]): Promise<string[]> =>
    (await client.option(option, nbd.encodeMetaContexts(name, queries))).map(({ type, payload }) =>
      type === nbd.REPLY.metaContext ? payload.subarray(4).toString() : `${type}`,
    );
  const { setMetaContext, listMetaContext } = nbd.OPTION;
  assert.deepEqual(await ask(setMetaContext, 'good', 'base:allocation'), [`${errorOf(nbd.OPTION_ERROR_INVALID)}`]);
  await client.option(nbd.OPTION.structuredReply);
  assert.deepEqual(await ask(listMetaContext, 'good'), ['base:allocation', '1']);
  assert.deepEqual(await ask(listMetaContext, 'good', 'qemu:', 'base:'), ['base:allocation', '1']);
  assert.deepEqual(await ask(listMetaContext, 'good', 'qemu:'), ['1']);
  assert.deepEqual(await ask(setMetaContext, 'good', 'base:'), ['1']);
  assert.deepEqual(await ask(setMetaContext, 'none', 'base:allocation'), [`${errorOf(nbd.OPTION_ERROR_UNKNOWN)}`]);
  assert.deepEqual(await ask(setMetaContext, 'bad', 'x:y', 'base:allocation'), ['base:allocation', '1']);
  await client.option(nbd.OPTION.go, nbd.encodeGo('good'));
  client.request(nbd.COMMAND.blockStatus, 1, 0, 1000);
  const { type, payload } = await client.chunk();
  assert.deepEqual(
    [type, payload.readUInt32BE(0)],
    [nbd.CHUNK_ERROR, nbd.ERRNO.EINVAL],
    'it was agreed on for another',
  );
});

test('block status: data and holes, clipped to the request, one extent when one is asked for', async (t) => {
  const { path } = await rig(t);
  const client = await RawClient.enter(t, path, 'good');
  const status = async (offset: number, length: number, flags = 0): Promise<number[]> => {
    client.request(nbd.COMMAND.blockStatus, 9, offset, length, flags);
    const { type, isLast, payload } = await client.chunk();
    assert.deepEqual([type, isLast, payload.readUInt32BE(0)], [nbd.CHUNK.blockStatus, true, 1]);
    return [...nbd.decodeBlockStatus(payload)!.extents];
  };
  assert.deepEqual(await status(0, CONTENT.length), [64 * KiB, 0, 64 * KiB, HOLE, 1000, 0]);
  assert.deepEqual(await status(60_000, 10_000), [5536, 0, 4464, HOLE]);
  assert.deepEqual(await status(60_000, 10_000, nbd.COMMAND_FLAG.oneExtent), [5536, 0]);
});

test('EXPORT_NAME: with and without the zeros behind it, simple replies, and the end of the connection for no export', async (t) => {
  const { path } = await rig(t);
  for (const [clientFlags, zeroes] of [
    [1, 124],
    [3, 0],
  ]) {
    const client = await RawClient.connect(t, path, clientFlags);
    client.send(nbd.encodeOption(nbd.OPTION.exportName, Buffer.from('good')));
    const answer = await client.take(10 + zeroes);
    assert.equal(Number(answer.readBigUInt64BE(0)), CONTENT.length);
    assert.ok(answer.subarray(10).every((byte) => byte === 0));
    client.request(nbd.COMMAND.read, 3, 60_000, 80_000 - 9000);
    const reply = await client.simple(71_000);
    assert.equal(reply.cookie, 3n);
    assert.ok(reply.data.equals(CONTENT.subarray(60_000, 131_000)));
    client.request(nbd.COMMAND.read, 4, 0, 100, nbd.COMMAND_FLAG.doNotFragment);
    assert.equal((await client.simple()).errno, nbd.ERRNO.EINVAL, 'DF belongs to structured replies');
  }
  const client = await RawClient.connect(t, path);
  client.send(nbd.encodeOption(nbd.OPTION.exportName, Buffer.from('none')));
  await client.closed();
});

test('reads: in parts with holes as holes, in one chunk with DF, empty ones, and to the last odd byte', async (t) => {
  const { path, disks } = await rig(t);
  const client = await RawClient.enter(t, path, 'good');
  for (const [offset, length] of [
    [0, CONTENT.length],
    [65_000, 67_000],
    [131_071, 2],
    [CONTENT.length - 1, 1],
  ]) {
    for (const flags of [0, nbd.COMMAND_FLAG.doNotFragment]) {
      const back = await readBack(client, offset, length, flags);
      assert.ok(CONTENT.subarray(offset, offset + length).equals(back as Buffer), `${length} at ${offset}, ${flags}`);
    }
  }
  client.request(nbd.COMMAND.read, 1, 60_000, 20_000);
  const types = [(await client.chunk()).type, (await client.chunk()).type];
  assert.deepEqual(types, [nbd.CHUNK.offsetData, nbd.CHUNK.offsetHole]);
  client.request(nbd.COMMAND.read, 1, 60_000, 20_000, nbd.COMMAND_FLAG.doNotFragment);
  const whole = await client.chunk();
  assert.deepEqual([whole.type, whole.isLast, whole.payload.length], [nbd.CHUNK.offsetData, true, 20_008]);
  client.request(nbd.COMMAND.read, 1, 5, 0);
  assert.deepEqual(await client.chunk(), { type: nbd.CHUNK.none, isLast: true, cookie: 1n, payload: Buffer.alloc(0) });
  assert.ok(disks.good!.mostHeld > 0);
  assert.equal(disks.good!.held, 0, 'every part was released');
});

test('what cannot be read is EIO for the requests that touch it and for no other, in both kinds of reply', async (t) => {
  const { path, disks, reports } = await rig(t);
  const structured = await RawClient.enter(t, path, 'bad');
  const simple = await RawClient.enter(t, path, 'bad', false);
  for (const [offset, length, isBad] of [
    [0, CONTENT.length, true],
    [64 * KiB, 64 * KiB, true],
    [BAD_BYTE, 1, true],
    [0, 64 * KiB, false],
    [BAD_BYTE + 1, 60_000, false],
  ] as const) {
    const back = await readBack(structured, offset, length);
    if (isBad) assert.equal(back, nbd.ERRNO.EIO);
    else assert.ok(CONTENT.subarray(offset, offset + length).equals(back as Buffer));
    simple.request(nbd.COMMAND.read, 5, offset, length);
    assert.equal((await simple.simple(length)).errno, isBad ? nbd.ERRNO.EIO : 0);
  }
  assert.equal(disks.bad!.held, 0);
  assert.match(reports[0]!, /byte 70000 cannot be read/);
});

test('requests that write are EPERM, with their payload passed over; impossible ones EINVAL; none ends the connection', async (t) => {
  const { path } = await rig(t);
  const client = await RawClient.enter(t, path, 'good');
  client.request(nbd.COMMAND.write, 1, 0, 200_000);
  client.send(Buffer.alloc(200_000, 0x25));
  assert.deepEqual([(await client.simple()).errno], [nbd.ERRNO.EPERM]);
  for (const command of [nbd.COMMAND.trim, nbd.COMMAND.writeZeroes, nbd.COMMAND.resize]) {
    client.request(command, 1, 0, 4096);
    assert.equal((await client.simple()).errno, nbd.ERRNO.EPERM);
  }
  client.request(nbd.COMMAND.cache, 1, 0, 4096);
  assert.equal((await client.simple()).errno, 0);
  client.request(99, 1, 0, 4096);
  assert.equal((await client.simple()).errno, nbd.ERRNO.EINVAL);
  for (const [offset, length, flags] of [
    [CONTENT.length, 1, 0],
    [CONTENT.length - 1, 2, 0],
    [2n ** 64n - 1n, 2, 0],
    [2n ** 63n, 0xffffffff, 0],
    [0, 100, 1],
    [0, 0xffffffff, 0],
  ] as const) {
    client.request(nbd.COMMAND.read, 1, offset, length, flags);
    const { type, payload } = await client.chunk();
    assert.deepEqual([type, payload.readUInt32BE(0)], [nbd.CHUNK_ERROR, nbd.ERRNO.EINVAL], `${length} at ${offset}`);
  }
  assert.ok(CONTENT.equals((await readBack(client, 0, CONTENT.length)) as Buffer));
});

test('garbage ends its connection and no other', async (t) => {
  const { path, reports } = await rig(t);
  const bystander = await RawClient.enter(t, path, 'good');
  const hostile = async (clientFlags: number | undefined, ...bytes: Uint8Array[]): Promise<void> => {
    const client = await RawClient.connect(t, path, clientFlags);
    client.send(...bytes);
    await client.closed();
  };
  await hostile(undefined, Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  await hostile(0xffff_fff0);
  await hostile(3, Buffer.alloc(64, 0x41));
  await hostile(3, u([64, nbd.OPTION_MAGIC], [32, nbd.OPTION.go], [32, 0xffff_ffff]));
  await hostile(3, u([64, nbd.OPTION_MAGIC], [32, nbd.OPTION.exportName], [32, 70_000]));
  await hostile(3, ...Array.from({ length: 300 }, () => nbd.encodeOption(4711, new Uint8Array(0))));
  const inside = await RawClient.enter(t, path, 'good');
  inside.send(Buffer.alloc(28, 0x41));
  await inside.closed();
  const writer = await RawClient.enter(t, path, 'good');
  writer.request(nbd.COMMAND.write, 1, 0, 0xffff_ffff);
  await writer.closed();
  assert.equal(reports.length, 8);
  const half = await RawClient.connect(t, path, undefined);
  half.socket.destroy();
  assert.ok(CONTENT.equals((await readBack(bystander, 0, CONTENT.length)) as Buffer));
});

test('ABORT and DISC: the server answers what is in flight and closes', async (t) => {
  const { path, disks } = await rig(t);
  const aborting = await RawClient.connect(t, path);
  assert.equal((await aborting.option(nbd.OPTION.abort))[0]!.type, nbd.REPLY.ack);
  await aborting.closed();
  const client = await RawClient.enter(t, path, 'good');
  let open = (): void => {};
  disks.good!.gate = new Promise((resolve) => {
    open = resolve;
  });
  client.request(nbd.COMMAND.read, 5, 0, 1000);
  client.request(nbd.COMMAND.flush, 6, 0, 0);
  await client.simple();
  client.request(nbd.COMMAND.disconnect, 7, 0, 0);
  open();
  assert.equal((await client.chunk()).payload.length, 1008);
  await client.closed();
});

test('many requests at once are all answered, and no more than 64 are at work', async (t) => {
  const { path, disks } = await rig(t);
  const client = await RawClient.enter(t, path, 'good');
  for (let cookie = 0; cookie < 1000; cookie++) client.request(nbd.COMMAND.read, cookie, cookie, 1);
  const seen = new Set<bigint>();
  for (let count = 0; count < 1000; count++) {
    const { cookie, payload } = await client.chunk();
    assert.equal(payload[8], CONTENT[Number(cookie)]);
    seen.add(cookie);
  }
  assert.equal(seen.size, 1000);
  assert.ok(disks.good!.mostHeld <= 64, `${disks.good!.mostHeld}`);
});

test('who is silent in the handshake, or leaves unread what it asked for, or is idle too long, is cut off', async (t) => {
  const { path, disks } = await rig(t, { handshakeMs: 200, stallMs: 200 });
  const silent = await RawClient.connect(t, path, undefined);
  const stalled = await RawClient.enter(t, path, 'good');
  stalled.socket.pause();
  for (let cookie = 0; cookie < 200; cookie++) stalled.request(nbd.COMMAND.read, cookie, 0, CONTENT.length);
  const quiet = await RawClient.enter(t, path, 'good');
  await silent.closed();
  await until(() => disks.good!.mostHeld > 0 && disks.good!.held === 0);
  assert.ok(CONTENT.equals((await readBack(quiet, 0, CONTENT.length)) as Buffer), 'idle is no fault by default');
  const other = await rig(t, { idleMs: 100 });
  await (await RawClient.enter(t, other.path, 'good')).closed();
});

test(`connection ${MAX_CONNECTIONS + 1} is refused, and taken once another has gone`, async (t) => {
  const { path, reports } = await rig(t);
  const clients = [];
  for (let count = 0; count < MAX_CONNECTIONS; count++) clients.push(await RawClient.connect(t, path));
  await assert.rejects(RawClient.connect(t, path), /closed after 0/);
  assert.match(reports[0]!, /refused/);
  clients[0]!.socket.destroy();
  for (;;) {
    const again = await RawClient.enter(t, path, 'good').catch(() => undefined);
    if (again !== undefined) return;
  }
});

test('our own client reads it: bytes, holes, several reads at once', async (t) => {
  const { path } = await rig(t);
  const client = await NbdClient.connect({
    socketPath: path,
    exportName: 'good',
    metaContexts: [nbd.BASE_ALLOCATION],
    pace: { bytes: 1000, depth: 4 },
  });
  const targets = Array.from({ length: 8 }, () => new Uint8Array(CONTENT.length));
  await Promise.all(targets.map((target) => client.read(0, target)));
  for (const target of targets) assert.ok(CONTENT.equals(target));
  const extents = [];
  for await (const extent of client.blockStatus(nbd.BASE_ALLOCATION, 100, CONTENT.length - 100))
    extents.push(extent.flags);
  assert.deepEqual(extents, [0, HOLE, 0]);
  await client.close();
  const bad = await NbdClient.connect({ socketPath: path, exportName: 'bad' });
  await assert.rejects(bad.read(BAD_BYTE, new Uint8Array(1)), /EIO: bad: byte 70000 cannot be read/);
  await bad.close();
  await assert.rejects(NbdClient.connect({ socketPath: path, exportName: 'none' }), { code: 'not-found' });
});

test('the socket: of its user alone, refused while a server lives, taken over from a dead one, never from a file', async (t) => {
  const { path, server } = await rig(t);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const exports: ServedExports = { list: async () => [], open: async () => undefined };
  const listen = (socketPath: string) => NbdServer.listen({ address: { socketPath }, exports, report: () => {} });
  await assert.rejects(listen(path), { code: 'exists' });
  assert.ok(existsSync(path), 'and the living one keeps it');
  await server.close();
  assert.ok(!existsSync(path));
  const dead = join(scratch(t), 'dead');
  const holder = net.createServer().listen(dead);
  await once(holder, 'listening');
  linkSync(dead, `${dead}.kept`);
  holder.close();
  await once(holder, 'close');
  renameSync(`${dead}.kept`, dead);
  const second = await listen(dead);
  await RawClient.connect(t, dead);
  await second.close();
  const file = join(scratch(t), 'file');
  writeFileSync(file, 'precious');
  await assert.rejects(listen(file), { code: 'exists' });
  assert.ok(existsSync(file));
  await assert.rejects(listen(join(scratch(t), 'x'.repeat(120))), { code: 'bad-argument' });
});

test('TCP: a port of its own, told; a port that is taken is refused', async (t) => {
  const exports: ServedExports = { list: async () => ['good'], open: async () => new MemoryDisk('good') };
  const address = { host: '127.0.0.1', port: 0 };
  const server = await NbdServer.listen({ address, exports, report: () => {} });
  t.after(async () => await server.close());
  const taken = server.address as { host: string; port: number };
  const client = await NbdClient.connect({ ...taken, exportName: 'x' });
  const target = new Uint8Array(CONTENT.length);
  await client.read(0, target);
  assert.ok(CONTENT.equals(target));
  await client.close();
  await assert.rejects(NbdServer.listen({ address: taken, exports, report: () => {} }), { code: 'exists' });
});

test('closing: what is in flight is answered, a client that stays is cut off, and the socket goes', async (t) => {
  const { path, server, disks } = await rig(t);
  const client = await RawClient.enter(t, path, 'good');
  let open = (): void => {};
  disks.good!.gate = new Promise((resolve) => {
    open = resolve;
  });
  client.request(nbd.COMMAND.read, 5, 0, 1000);
  client.request(nbd.COMMAND.flush, 6, 0, 0);
  await client.simple();
  const closed = server.close();
  open();
  assert.ok(CONTENT.subarray(0, 1000).equals((await client.chunk()).payload.subarray(8)));
  await client.closed();
  await closed;
  assert.ok(!existsSync(path));
});
