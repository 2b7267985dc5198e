// A monitor that speaks nonsense ends its connection with words, and answers that are not what we rely on are not guessed at.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QmpClient } from '../../../src/guests/qmp/qmp-client.ts';
import { queryBlockNodes, queryStatus } from '../../../src/guests/qmp/qmp-types.ts';
import { listen } from './qemu-monitor.ts';

const GREETING =
  '{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": ""}, "capabilities": []}}\r\n';

/** A monitor that greets, accepts the capabilities, and says these words to the next command; `ID` is its id. */
async function sayTo(t: Parameters<typeof listen>[0], words: string): Promise<QmpClient> {
  const socketPath = await listen(t, (socket) => {
    socket.write(GREETING);
    socket.on('data', (bytes) => {
      const { execute, id } = JSON.parse(String(bytes)) as { execute: string; id: number };
      const answer = execute === 'qmp_capabilities' ? '{"return": {}, "id": ID}\r\n' : words;
      socket.write(answer.replaceAll('ID', String(id)));
    });
  });
  const client = await QmpClient.connect(socketPath, { label: 'VM 101' });
  t.after(() => client.close());
  return client;
}

test('what is no message of QMP ends the connection', async (t) => {
  for (const words of ['login:\n', 'null\n', '{}\n', '[1]\n', '7\n', '{"error": {"desc": "no id"}}\n']) {
    const client = await sayTo(t, words);
    await assert.rejects(client.execute('query-status'), { code: 'guest-failed', message: /cannot be read/ }, words);
    assert.match(String((await client.closed)!.cause), /not JSON|neither answer nor event|no id/);
  }
});

test('a greeting without a version, or none, is no monitor', async (t) => {
  const odd = await listen(t, (socket) => socket.write('{"QMP": {"version": {}}}\n'));
  await assert.rejects(QmpClient.connect(odd), { code: 'guest-failed' });
  const ended = await listen(t, (socket) => socket.end());
  await assert.rejects(QmpClient.connect(ended), { code: 'guest-failed', message: /QEMU ended/ });
});

test('a version is that of the greeting, and answers to commands that nobody sent are dropped', async (t) => {
  const client = await sayTo(
    t,
    '{"return": 1, "id": 77}\n{"return": {"status": "paused", "running": false, "new": 1}, "id": ID}\n',
  );
  assert.deepEqual(await queryStatus(client), { status: 'paused', running: false });
  assert.deepEqual(client.version, { major: 10, minor: 0, micro: 2, package: '' });
});

test('a listener that throws ends the connection, with its error as the cause', async (t) => {
  const client = await sayTo(t, '{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2000}}\n');
  client.onEvent(() => {
    throw new Error('a bug');
  });
  const event = client.waitForEvent('STOP');
  await assert.rejects(client.execute('stop'), { code: 'guest-failed', cause: new Error('a bug') });
  await assert.rejects(event, { code: 'guest-failed' });
});

test('an answer that lacks what we rely on is an error that shows it', async () => {
  const saying = (answer: unknown) => ({ execute: <T>() => Promise.resolve(answer as T) });
  await assert.rejects(queryStatus(saying({ status: 'running' })), {
    code: 'guest-failed',
    message: 'query-status answered with what is not understood: {"status":"running"}',
    data: { command: 'query-status' },
  });
  await assert.rejects(queryBlockNodes(saying([{ 'node-name': 'n' }])), { code: 'guest-failed' });
  await assert.rejects(queryBlockNodes(saying(undefined)), { code: 'guest-failed' });
});
