// A client that asks in the handshake and reads nothing: the server keeps one answer for it, not all that were asked for.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import * as nbd from '../../../src/agent/nbd/protocol.ts';
import { NbdServer } from '../../../src/agent/nbd/server.ts';
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
