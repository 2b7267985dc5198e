// Streams of records that are mutated, cut, doubled, mixed up and sent in odd pieces, for some seconds with a seed that is printed
// (HOLDFAST_FUZZ_SECONDS, HOLDFAST_FUZZ_SEED): the server answers each call, makes no mistake of its own, and stores nothing that is not what its
// id says.
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { request } from 'node:https';
import { test } from 'node:test';
import { Kind, PLAIN_SPACE } from '../../../src/chunker/object.ts';
import { shortHash } from '../../../src/chunker/object-id.ts';
import { type MadeRecord, makeRecord } from '../../datastore/fixture.ts';
import { NO_SIGNAL } from '../../support/store.ts';
import { workFor } from '../../support/work-time.ts';
import { type Client, EVE, framed, makeImage, Rig } from './rig.ts';

const SECONDS = Number(process.env.HOLDFAST_FUZZ_SECONDS ?? 3);
const SEED = Number(process.env.HOLDFAST_FUZZ_SEED ?? randomInt(2 ** 31));

/** Whole numbers below a bound, the same row for the same seed. */
function numbers(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
}

function someRecords(below: (bound: number) => number): MadeRecord[] {
  const payload = (): Buffer => {
    const bytes = Buffer.alloc(below(4) === 0 ? below(90_000) : below(2000));
    if (below(2) === 0) for (let at = 0; at < bytes.length; at++) bytes[at] = below(256);
    return Buffer.concat([bytes, Buffer.from([below(256), below(256), below(256)])]);
  };
  const image = makeImage(Array.from({ length: 1 + below(3) }, payload));
  const blob = makeRecord(payload(), Kind.blob, below(2) === 0 ? image.page.id : Buffer.alloc(0));
  return [...image.all, blob];
}

/** A changed record; half of them with a checksum that holds again. */
function mutate(record: Buffer, below: (bound: number) => number): Buffer {
  const changed = Buffer.from(record);
  for (let n = 0; n <= below(3); n++) {
    const at = below(4) === 0 ? below(56) : below(changed.length);
    changed[at] = below(3) === 0 ? below(256) : changed[at]! ^ (1 << below(8));
  }
  if (below(2) === 0) shortHash(changed.subarray(0, -16)).copy(changed, changed.length - 16);
  return changed;
}

function someBody(below: (bound: number) => number): Buffer {
  const records: Buffer[] = someRecords(below).map(({ record }) => record);
  if (below(3) === 0) records.sort(() => below(3) - 1);
  if (below(3) === 0) records.push(...records.slice(0, below(records.length)));
  const bytes = records.map((record) => (below(6) === 0 ? mutate(record, below) : record));
  const body = framed(bytes);
  switch (below(8)) {
    case 0:
      return body.subarray(0, below(body.length));
    case 1:
      body[below(body.length)]! ^= 1 << below(8);
      return body;
    case 2:
      return Buffer.concat([body.subarray(0, below(body.length)), body.subarray(below(body.length))]);
    default:
      return body;
  }
}

/** Sends the body in pieces, and perhaps not to its end; undefined when the connection broke. */
function send(client: Client, body: Buffer, below: (bound: number) => number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const headers = { authorization: `Bearer ${client.opened.token}` };
    const path = `/v1/${client.id}/put`;
    const { agent, listener } = client.rig;
    const call = request(
      { host: '127.0.0.1', port: listener.port, agent, method: 'POST', path, headers },
      (response) => {
        response.resume();
        response.on('error', () => resolve(undefined));
        response.on('end', () => resolve(response.statusCode));
      },
    );
    call.on('error', () => resolve(undefined));
    const end = below(20) === 0 ? below(body.length + 1) : body.length;
    for (let at = 0; at < end; ) {
      const next = Math.min(end, at + 1 + below(below(3) === 0 ? 10 : 40_000));
      call.write(body.subarray(at, next));
      at = next;
    }
    if (end < body.length) setImmediate(() => call.destroy());
    else call.end();
  });
}

test(`mutated streams, ${SECONDS} s, seed ${SEED}`, async () => {
  const rig = await Rig.start();
  try {
    const statuses = new Map<number | undefined, number>();
    const goesOn = workFor(SECONDS);
    const one = async (client: Client, seed: number): Promise<void> => {
      const below = numbers(seed);
      while (goesOn()) {
        const status = await send(client, someBody(below), below);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    };
    const clients = await Promise.all([
      rig.backup(),
      rig.backup({ group: 'vm/102' }),
      rig.backup({ group: 'vm/1', authId: EVE }),
    ]);
    await Promise.all(clients.map((client, place) => one(client, SEED + place)));
    assert.deepEqual(rig.reported, []);
    assert.deepEqual(
      [...statuses.keys()].filter((status) => ![undefined, 200, 400, 413].includes(status)),
      [],
    );
    assert.ok(statuses.get(200)! > 5 && statuses.get(400)! > 5, JSON.stringify([...statuses]));
    for (const client of clients) await client.commit(await client.putImage(['still', 'well']));
    const { index, source } = rig.open.store;
    let count = 0;
    for (const entry of index.entries()) {
      assert.equal(index.space(entry), PLAIN_SPACE);
      source.get(PLAIN_SPACE, index.id(entry));
      count++;
    }
    assert.ok(count > 20);
    const request = { snapshot: null, provedSinceMs: Date.now() + 1e9, rateLimitBytes: null };
    const report = await rig.open.store.verify(request, { signal: NO_SIGNAL, onProgress: () => {} });
    assert.deepEqual([report.copiesDamaged, report.objectsMissing, report.damaged], [0, 0, []]);
  } finally {
    await rig.stop();
  }
});
