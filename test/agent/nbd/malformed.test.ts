// The client against servers that break the protocol: every breach is an error, none a hang, none a wrong byte.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { NbdClient, type NbdConnectOptions } from '../../../src/agent/nbd/client.ts';
import { CHUNK_FLAG_DONE as DONE } from '../../../src/agent/nbd/protocol.ts';
import * as fake from './fake-server.ts';
import { pattern } from './servers.ts';

const SIZE = 1 << 20;
const bytes = pattern(SIZE, 9);

function connect(socketPath: string, more: Partial<NbdConnectOptions> = {}): Promise<NbdClient> {
  return NbdClient.connect({ socketPath, exportName: 'X', timeoutMs: 2000, ...more });
}

type Reply = fake.FakeOptions['reply'];

const breaches: [name: string, expected: RegExp, reply: Reply, structured?: boolean][] = [
  ['a wrong magic', /magic 0x12345678/, ({ cookie }) => [fake.u([32, 0x12345678], [32, 0], [64, cookie])]],
  [
    'a structured reply that was not agreed on',
    /magic 0x668e33ef/,
    ({ cookie }) => [fake.chunk(cookie, 0, new Uint8Array(0), DONE)],
    false,
  ],
  ['a simple reply where data belongs', /simple reply where data belongs/, ({ cookie }) => [fake.simple(cookie, 0)]],
  ['a simple reply to nobody', /never made/, () => [fake.simple(99n, 0)], false],
  [
    'too few bytes',
    /incomplete answer/,
    ({ cookie, offset, length }) => [fake.data(cookie, offset, bytes.subarray(0, length - 1), DONE)],
  ],
  [
    'too many bytes',
    /in answer to a read of 4096/,
    ({ cookie, offset, length }) => [fake.data(cookie, offset, bytes.subarray(0, length + 1), DONE)],
  ],
  ['no bytes', /incomplete answer/, ({ cookie }) => [fake.chunk(cookie, 0, new Uint8Array(0), DONE)]],
  [
    'bytes before the request',
    /in answer to a read/,
    ({ cookie, offset }) => [fake.data(cookie, offset - 1, bytes.subarray(0, 10), DONE)],
  ],
  [
    'bytes at an impossible offset',
    /in answer to a read/,
    ({ cookie }) => [fake.data(cookie, Number.MAX_SAFE_INTEGER - 5, bytes.subarray(0, 10), DONE)],
  ],
  [
    'the same bytes twice',
    /incomplete answer/,
    ({ cookie, offset }) => [
      fake.data(cookie, offset, bytes.subarray(0, 2048)),
      fake.data(cookie, offset, bytes.subarray(0, 2048), DONE),
    ],
  ],
  ['a hole without length', /in answer to a read/, ({ cookie, offset }) => [fake.hole(cookie, offset, 0, DONE)]],
  ['a hole that is too large', /in answer to a read/, ({ cookie, offset }) => [fake.hole(cookie, offset, 4097, DONE)]],
  ['a hole chunk of a wrong size', /hole chunk of 8/, ({ cookie }) => [fake.chunk(cookie, 2, new Uint8Array(8), DONE)]],
  ['a data chunk without data', /data chunk of 8/, ({ cookie }) => [fake.chunk(cookie, 1, new Uint8Array(8), DONE)]],
  ['a chunk of an unknown type', /type 77/, ({ cookie }) => [fake.chunk(cookie, 77, new Uint8Array(8), DONE)]],
  [
    'block status in answer to a read',
    /type 5 in answer to a read/,
    ({ cookie }) => [fake.status(cookie, 1, [[4096, 0]])],
  ],
  [
    'a gigantic chunk',
    /chunk of 4294967295/,
    ({ cookie }) => [fake.u([32, 0x668e33ef], [16, 1], [16, 1], [64, cookie], [32, 0xffffffff])],
  ],
  ['an error that is too short', /broken error/, ({ cookie }) => [fake.chunk(cookie, 0x8001, new Uint8Array(4), DONE)]],
  [
    'half a reply and good-bye',
    /closed the connection/,
    ({ cookie, offset }, socket) => {
      socket.end(fake.data(cookie, offset, bytes.subarray(0, 4096)).subarray(0, 1000));
      return undefined;
    },
  ],
];

for (const [name, message, reply, structured = true] of breaches) {
  test(`a server that sends ${name}`, async (t) => {
    const client = await connect(await fake.fakeServer(t, { sizeBytes: SIZE, structured, reply }));
    await assert.rejects(client.read(8192, new Uint8Array(4096)), { code: 'source-failed', message });
    await assert.rejects(client.read(8192, new Uint8Array(4096)), { code: 'source-failed', message });
    await client.close();
  });
}

test('half a reply and silence is timed-out', async (t) => {
  const reply: Reply = ({ cookie, offset }) => [fake.data(cookie, offset, bytes.subarray(0, 4096)).subarray(0, 1000)];
  const client = await connect(await fake.fakeServer(t, { sizeBytes: SIZE, reply }), { timeoutMs: 150 });
  await assert.rejects(client.read(0, new Uint8Array(4096)), { code: 'timed-out' });
});

test('structured chunks for unknown cookies are dropped, also after an error', async (t) => {
  const socketPath = await fake.fakeServer(t, {
    sizeBytes: SIZE,
    contexts: ['base:allocation'],
    reply: ({ cookie, offset, length, command }) => {
      if (command === 0)
        return [
          fake.data(cookie + 1000n, 0, bytes.subarray(0, 200_000)),
          fake.data(cookie, offset, bytes.subarray(offset, offset + length), DONE),
        ];
      // QEMU 7.2 with several contexts: an error that ends the reply, then a status for the same cookie.
      return [fake.failure(cookie, 22, 'no status here'), fake.status(cookie, 1, [[length, 0]])];
    },
  });
  const client = await connect(socketPath, { metaContexts: ['base:allocation'] });
  const walk = async () => {
    for await (const _ of client.blockStatus('base:allocation', 0, 4096));
  };
  await assert.rejects(walk(), {
    code: 'source-failed',
    message: /block status of 4096 bytes at offset 0: EINVAL: no status here/,
  });
  const target = Buffer.alloc(5000);
  await client.read(100, target);
  assert.ok(target.equals(bytes.subarray(100, 5100)));
  await client.close();
});

test('chunks out of order, holes, byte by byte: the right bytes at the right place', async (t) => {
  const reply: Reply = ({ cookie, offset, length }, socket) => {
    const third = Math.floor(length / 3);
    const all = Buffer.concat([
      fake.data(cookie, offset + third * 2, bytes.subarray(offset + third * 2, offset + length)),
      fake.chunk(cookie, 0, new Uint8Array(0)),
      fake.hole(cookie, offset, third),
      fake.data(cookie, offset + third, bytes.subarray(offset + third, offset + third * 2), DONE),
    ]);
    let at = 0;
    const drip = () => {
      if (at >= all.length || socket.destroyed) return;
      const step = 1 + ((at * 7) % 13);
      socket.write(all.subarray(at, at + step), drip);
      at += step;
    };
    drip();
    return undefined;
  };
  const client = await connect(await fake.fakeServer(t, { sizeBytes: SIZE, reply }));
  const target = Buffer.alloc(3000, 0xff);
  await client.read(700, target);
  assert.ok(target.subarray(0, 1000).every((byte) => byte === 0));
  assert.ok(target.subarray(1000).equals(bytes.subarray(1700, 3700)));
  await client.close();
});

test('an error in one piece leaves the others in peace until they are done', async (t) => {
  const late: (() => void)[] = [];
  const socketPath = await fake.fakeServer(t, {
    sizeBytes: SIZE,
    reply: ({ cookie, offset, length }, socket) => {
      if (offset === 0) return [fake.failure(cookie, 5, 'bad sector')];
      late.push(() => socket.write(fake.data(cookie, offset, bytes.subarray(offset, offset + length), DONE)));
      if (late.length === 1) setTimeout(() => late.map((send) => send()), 100);
      return undefined;
    },
  });
  const client = await connect(socketPath, { pace: { bytes: 4096, depth: 2 } });
  const target = Buffer.alloc(3 * 4096);
  const started = performance.now();
  await assert.rejects(client.read(0, target), { code: 'source-failed', message: /EIO: bad sector/ });
  assert.ok(performance.now() - started > 80, 'rejects once nothing can land any more');
  assert.ok(target.subarray(4096, 8192).equals(bytes.subarray(4096, 8192)));
  await client.close();
});

test('what comes next is asked for when half of what is on the way is answered', async (t) => {
  const asked: (() => void)[] = [];
  const socketPath = await fake.fakeServer(t, {
    sizeBytes: SIZE,
    reply: ({ cookie, offset, length }, socket) => {
      asked.push(() => socket.write(fake.data(cookie, offset, bytes.subarray(offset, offset + length), DONE)));
      return undefined;
    },
  });
  const client = await connect(socketPath, { pace: { bytes: 4096, depth: 4 } });
  const target = Buffer.alloc(8 * 4096);
  const read = client.read(0, target);
  const answered = async (count: number, come: number): Promise<void> => {
    for (let tries = 0; asked.length < come && tries < 100; tries++) await sleep(10);
    await sleep(30);
    assert.equal(asked.length, come, `after ${count} answers`);
  };
  await answered(0, 4);
  asked[0]?.();
  await answered(1, 4);
  asked[1]?.();
  await answered(2, 6);
  for (const place of [2, 3]) asked[place]?.();
  await answered(4, 8);
  for (const each of asked.slice(4)) each();
  await read;
  assert.ok(target.equals(bytes.subarray(0, target.length)));
  await client.close();
});

test('simple replies only', async (t) => {
  const reply: Reply = ({ cookie, offset, length }) => {
    return offset >= 65_536
      ? [fake.simple(cookie, 5)]
      : [fake.simple(cookie, 0, bytes.subarray(offset, offset + length))];
  };
  const socketPath = await fake.fakeServer(t, { sizeBytes: SIZE, structured: false, reply });
  const client = await connect(socketPath, { metaContexts: ['base:allocation'] });
  assert.deepEqual(client.contexts, []);
  const target = Buffer.alloc(65_536);
  await client.read(0, target);
  assert.ok(target.equals(bytes.subarray(0, 65_536)));
  await assert.rejects(client.read(65_536, target), { code: 'source-failed', message: /EIO/ });
  await client.close();
});

const badStatus: [name: string, extents: [number, number][], message: RegExp][] = [
  ['without extents', [], /broken block status/],
  ['with an empty extent', [[0, 0]], /broken block status/],
];
for (const [name, extents, message] of badStatus) {
  test(`block status ${name}`, async (t) => {
    const reply: Reply = ({ cookie }) => [fake.status(cookie, 1, extents)];
    const client = await connect(await fake.fakeServer(t, { sizeBytes: SIZE, contexts: ['c:d'], reply }), {
      metaContexts: ['c:d'],
    });
    const walk = async () => {
      for await (const _ of client.blockStatus('c:d', 0, 4096));
    };
    await assert.rejects(walk(), { code: 'source-failed', message });
  });
}

test('block status that leads nowhere is an error, not a loop', async (t) => {
  const reply: Reply = ({ cookie }) => [fake.status(cookie, 1, [[1, 0]])];
  const socketPath = await fake.fakeServer(t, { sizeBytes: SIZE, contexts: ['c:d'], minimumBlock: 512, reply });
  const client = await connect(socketPath, { metaContexts: ['c:d'] });
  const walk = async () => {
    for await (const _ of client.blockStatus('c:d', 100, 4096));
  };
  await assert.rejects(walk(), { code: 'source-failed', message: /leads nowhere/ });
  await client.close();
});

test('block status: short and overlong answers, other contexts, merged and clipped', async (t) => {
  let asked = 0;
  const reply: Reply = ({ cookie, length }) => {
    asked += 1;
    const other = fake.status(cookie, 7, [[length, 3]], 0);
    if (asked === 1)
      return [
        other,
        fake.status(cookie, 1, [
          [1000, 2],
          [500, 2],
        ]),
      ];
    if (asked === 2)
      return [
        fake.status(cookie, 1, [
          [500, 2],
          [1000, 0],
        ]),
      ];
    return [fake.status(cookie, 1, [[1_000_000, 0]])];
  };
  const client = await connect(await fake.fakeServer(t, { sizeBytes: SIZE, contexts: ['c:d'], reply }), {
    metaContexts: ['c:d'],
  });
  const extents = [];
  for await (const extent of client.blockStatus('c:d', 10, 5000)) extents.push(extent);
  assert.deepEqual(extents, [
    { offset: 10, length: 2000, flags: 2 },
    { offset: 2010, length: 3000, flags: 0 },
  ]);
  await client.close();
});

const handshakes: [name: string, options: Partial<fake.FakeOptions>, message: RegExp][] = [
  ['that speaks HTTP', { greeting: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') }, /does not speak NBD/],
  [
    'of the old style',
    { greeting: fake.u([64, 0x4e42444d41474943n], [64, 0x00420281861253n], [16, 3]) },
    /old NBD handshake/,
  ],
  [
    'without fixed newstyle',
    { greeting: fake.u([64, 0x4e42444d41474943n], [64, 0x49484156454f5054n], [16, 2]) },
    /fixed newstyle/,
  ],
  ['that answers another option', { option: () => fake.optionReply(3, 1) }, /broken answer to NBD option 8/],
  [
    'that sends a huge option reply',
    { option: (o) => fake.optionReply(o, 1, new Uint8Array(70_000)) },
    /broken answer/,
  ],
  [
    'that wants TLS',
    { option: (o) => fake.optionReply(o, 0x80000005, Buffer.from('secure only')) },
    /TLS required: secure only; TLS is not supported/,
  ],
  ['that tells no size', { option: (o) => (o === 7 ? fake.optionReply(7, 1) : undefined) }, /does not tell the size/],
  [
    'with a size beyond 2^53',
    {
      option: (o) =>
        o === 7
          ? Buffer.concat([fake.optionReply(7, 3, fake.u([16, 0], [64, 2n ** 60n], [16, 1])), fake.optionReply(7, 1)])
          : undefined,
    },
    /size above/,
  ],
  ['with impossible block sizes', { minimumBlock: 3 }, /impossible block sizes/],
];
for (const [name, options, message] of handshakes) {
  test(`a server ${name}`, async (t) => {
    const socketPath = await fake.fakeServer(t, { sizeBytes: SIZE, reply: () => undefined, ...options });
    await assert.rejects(connect(socketPath), { code: 'source-failed', message });
  });
}
