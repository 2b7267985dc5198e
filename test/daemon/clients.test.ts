// Ports of datastores: which one gets which, and who gets that of one that is gone.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Clients } from '../../src/daemon/clients.ts';
import type { OpenDatastore } from '../../src/daemon/open-store.ts';
import type { TransportSessions } from '../../src/transport/server/sessions.ts';
import { freePorts } from '../support/server/free-ports.ts';

async function setUp(t: TestContext, ...names: string[]) {
  const firstPort = await freePorts(3);
  const there = new Set(names);
  const ports = new Map<string, number>();
  const sessions: Pick<TransportSessions, 'addStore' | 'removeStore'> = {
    addStore: ({ name, bulkPort }) => void ports.set(name, bulkPort - firstPort),
    removeStore: async (name) => void ports.delete(name),
  };
  const clients = new Clients({
    sessions: sessions as TransportSessions,
    host: '127.0.0.1',
    firstPort,
    names: () => [...there],
    certificate: () => ({ cert: '', key: '', fingerprint: '', notAfterMs: 0 }),
    duplicate: () => -1,
    report: (error) => assert.fail(String(error)),
  });
  const pool = { size: 1, call: async () => undefined, all: async () => [] };
  const ends: (() => Promise<void>)[] = [];
  t.after(() => Promise.all(ends.map((end) => end())));
  const serve = async (name: string): Promise<() => Promise<void>> => {
    const end = await clients.serve({ name, pool } as unknown as OpenDatastore);
    ends.push(end);
    return async () => {
      ends.splice(ends.indexOf(end), 1);
      await end();
    };
  };
  return { clients, serve, ports, there };
}

test('datastores get their ports in order, whichever opens first, and keep them', async (t) => {
  const { clients, serve, ports } = await setUp(t, 'one', 'two');
  clients.reserve();
  await serve('two');
  const end = await serve('one');
  assert.deepEqual([ports.get('one'), ports.get('two')], [0, 1]);
  await end();
  assert.equal(ports.has('one'), false);
  await serve('one');
  assert.equal(ports.get('one'), 0);
});

test('the port of a datastore that is removed is given to the next at once; one that is only closed keeps it', async (t) => {
  const { clients, serve, ports, there } = await setUp(t, 'one', 'two');
  clients.reserve();
  await (await serve('one'))();
  there.add('three');
  await serve('three');
  assert.equal(ports.get('three'), 2);
  there.delete('one');
  there.add('four');
  await serve('four');
  assert.equal(ports.get('four'), 0);
});
