// A monitor that is not ready yet: no socket, a connection that nobody greets, one that ends; and a program that ends before it is ready.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectWhenReady } from '../../../src/guests/qmp/connect-when-ready.ts';
import { listen, scratch } from './qemu-monitor.ts';

const GREETING = { QMP: { version: { qemu: { major: 7, minor: 2, micro: 22 }, package: '' }, capabilities: [] } };
const options = { label: 'VM 101', timeoutMs: 5_000, greetingMs: 100, failure: async () => undefined };

test('a connection that is never greeted, or ends, is made again', async (t) => {
  let connections = 0;
  const socketPath = await listen(t, (socket) => {
    connections++;
    if (connections === 1) return;
    if (connections === 2) return void socket.destroy();
    socket.write(`${JSON.stringify(GREETING)}\n`);
    socket.on('data', (data) => {
      const { id } = JSON.parse(data.toString());
      socket.write(`${JSON.stringify({ return: {}, id })}\n`);
    });
  });
  const monitor = await connectWhenReady(socketPath, options);
  assert.deepEqual([connections, monitor.version.major], [3, 7]);
  monitor.close();
});

test('what ended says why, what is not ready in time is told, an abort ends the wait', async (t) => {
  const nowhere = `${scratch(t)}/none`;
  const why = new Error('it ended');
  await assert.rejects(connectWhenReady(nowhere, { ...options, failure: async () => why }), why);
  await assert.rejects(connectWhenReady(nowhere, { ...options, timeoutMs: 60 }), { code: 'timed-out' });
  await assert.rejects(connectWhenReady(nowhere, { ...options, signal: AbortSignal.abort() }), { code: 'aborted' });
});
