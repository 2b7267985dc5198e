// Clients that ask and do not read, or ask and leave: what the server keeps for them is bounded.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import * as nbd from '../../../src/agent/nbd/protocol.ts';
import type { ServedExports } from '../../../src/agent/nbd/served-disk.ts';
import { MAX_CONNECTIONS, NbdServer } from '../../../src/agent/nbd/server.ts';
import { RawClient } from './raw-client.ts';
import { scratch } from './servers.ts';

/** Far more than a socket takes. */
const NAMES = Array.from({ length: 16_000 }, (_, place) => `${place}`.padEnd(100, 'x'));
const ASKED = 50;

test('who asks for many long lists and reads none is answered one at a time', async (t) => {
  let lists = 0;
  const exports = {
    list: async () => {
      lists++;
      return NAMES;
    },
    open: async () => undefined,
  };
  const directory = scratch(t);
  const listen = async (name: string, limits: { handshakeMs?: number }): Promise<string> => {
    const socketPath = join(directory, name);
    const server = await NbdServer.listen({ address: { socketPath }, exports, limits, report: () => {} });
    t.after(async () => await server.close());
    return socketPath;
  };
  const path = await listen('hasty', { handshakeMs: 2000 });
  const deaf = await RawClient.connect(t, path);
  deaf.socket.pause();
  deaf.send(...Array.from({ length: ASKED }, () => nbd.encodeOption(nbd.OPTION.list, new Uint8Array(0))));
  // Another client has the time that the first one needs to be cut off.
  const silent = await RawClient.connect(t, path);
  await silent.closed();
  assert.equal(lists, 1, `of ${ASKED}`);
  const reader = await RawClient.connect(t, await listen('patient', {}));
  for (let round = 0; round < 2; round++)
    assert.equal((await reader.option(nbd.OPTION.list)).length, NAMES.length + 1, 'and one who reads gets them all');
});

test('who asked and left counts as a connection for as long as his reads are at work', async (t) => {
  let reading = 0;
  let letGo = (): void => {};
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  t.after(() => letGo());
  const read = async function* (offset: number, length: number) {
    reading++;
    await gate;
    yield { offset, length, views: undefined, release: () => void reading-- };
  };
  const session = { read, extents: async () => [], prefetch: () => {} };
  const disk = { label: 'slow', sizeBytes: 4096, isFixed: true, connect: () => session };
  const exports: ServedExports = { list: async () => ['slow'], open: async () => disk };
  const socketPath = join(scratch(t), 's');
  const reports: string[] = [];
  const report = (message: string): void => void reports.push(message);
  const server = await NbdServer.listen({ address: { socketPath }, exports, report });
  t.after(async () => await server.close());
  for (let count = 0; count < MAX_CONNECTIONS; count++) {
    const client = await RawClient.enter(t, socketPath, 'slow');
    client.request(nbd.COMMAND.read, 1, 0, 4096);
    while (reading <= count) await sleep(5);
    client.socket.destroy();
    await client.closed();
  }
  await assert.rejects(RawClient.enter(t, socketPath, 'slow'), /closed after 0/);
  assert.match(reports[0]!, /refused/);
  letGo();
  while (reading > 0) await sleep(5);
  await RawClient.enter(t, socketPath, 'slow');
});
