// Webhooks to real sockets: what is sent, what counts as taken, and what a bad server cannot do.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { ensureSelfSigned } from '../../../src/daemon/certificate.ts';
import { requireSound, type WebhookConfig } from '../../../src/notify/target-config.ts';
import { presetOf } from '../../../src/notify/targets/presets.ts';
import { webhookTarget } from '../../../src/notify/targets/webhook.ts';
import { temporaryDirectory } from '../../auth/access-fixture.ts';
import { event, NOW } from '../fixture.ts';
import { type Ending, socketServer } from './mail-server.ts';

const never = new AbortController().signal;
const message = { id: 'e', event: event({ subject: 'gc "main" failed' }) };

interface Asked {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

async function httpServer(t: Ending, answer: (response: ServerResponse) => void = (each) => each.end('fine')) {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const { method, url, headers } = request;
      asked.push({ method, url, headers, body: Buffer.concat(parts).toString() });
      answer(response);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { at: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

function config(more: Partial<WebhookConfig>): WebhookConfig {
  return { type: 'webhook', name: 'hook', enabled: true, url: '', method: 'post', headers: [], body: '', ...more };
}

test('templates fill URL, headers and body; texts cannot break out of them', async (t) => {
  const { at, asked } = await httpServer(t);
  const hook = config({
    url: `${at}/x/{{ url-encode title }}?s={{severity}}`,
    method: 'put',
    headers: [
      { name: 'X-Title', value: 'é {{title}} {{secrets.key}}' },
      { name: 'X-Field', value: '{{fields.datastore}}/{{fields.nothing}}' },
    ],
    body: '{"t": {{json title}}, "m": "{{escape message}}", "at": {{timestamp}}, "f": {{json fields}}, "p": {{priority}}, "i": "{{time}}"}',
  });
  requireSound(hook, { key: 'k3y' });
  await webhookTarget(hook, { key: 'k3y' }).send(message, never);
  const [one] = asked;
  assert.equal(one?.method, 'PUT');
  assert.equal(one?.url, '/x/gc%20%22main%22%20failed?s=error');
  assert.equal(Buffer.from(String(one?.headers['x-title']), 'latin1').toString(), 'é gc "main" failed k3y');
  assert.equal(one?.headers['x-field'], 'main/');
  assert.equal(one?.headers['content-type'], 'application/json');
  assert.deepEqual(JSON.parse(one?.body ?? ''), {
    t: 'gc "main" failed',
    m: 'line one\nline two',
    at: NOW,
    f: { datastore: 'main', type: 'gc', hostname: 'backup1' },
    p: 5,
    i: '2026-11-22T01:30:00Z',
  });
});

test('what an event says is not a template', async (t) => {
  const { at, asked } = await httpServer(t);
  const hook = config({ url: at, body: '{{title}}' });
  await webhookTarget(hook, { key: 'k3y' }).send(
    { id: 'e', event: event({ subject: '{{secrets.key}} $& $1' }) },
    never,
  );
  assert.equal(asked[0]?.body, '{{secrets.key}} $& $1');
});

test('lines of a text become one in a header, and an address that is a secret is of HTTP like any other', async (t) => {
  const { at, asked } = await httpServer(t);
  await webhookTarget(config({ url: at, headers: [{ name: 'X-Text', value: '{{message}}' }] }), {}).send(
    message,
    never,
  );
  assert.equal(asked[0]?.headers['x-text'], 'line one line two');
  const hook = config({ url: '{{secrets.url}}', method: 'get' });
  for (const url of [
    'data:,fine',
    'file:///etc/passwd',
    'ftp://example.com/s3cret',
    `http://u:s3cret@${at.slice(7)}/`,
    's3cret',
  ])
    await assert.rejects(webhookTarget(hook, { url }).send(message, never), (error: Error & { code: string }) => {
      assert.equal(error.code, 'bad-argument', url);
      assert.doesNotMatch(`${error.stack}${JSON.stringify(error)}`, /s3cret|passwd/);
      return true;
    });
  assert.equal(asked.length, 1);
});

test('the presets make what their services read', async (t) => {
  const { at, asked } = await httpServer(t);
  const send = async (...[preset, wish]: Parameters<typeof presetOf>): Promise<Asked | undefined> => {
    const { secrets, ...fields } = presetOf(preset, wish);
    requireSound(config(fields), secrets);
    await webhookTarget(config(fields), secrets).send(message, never);
    return asked.at(-1);
  };
  const ntfy = await send('ntfy', { url: `${at}/topic`, token: 'tk_1' });
  assert.equal(ntfy?.url, '/topic');
  assert.equal(ntfy?.body, 'line one\nline two');
  assert.equal(ntfy?.headers.authorization, 'Bearer tk_1');
  assert.equal(ntfy?.headers.title, 'gc "main" failed');
  assert.equal(ntfy?.headers.priority, '5');
  const gotify = await send('gotify', { url: `${at}/`, token: 'A1' });
  assert.equal(gotify?.url, '/message');
  assert.equal(gotify?.headers['x-gotify-key'], 'A1');
  assert.deepEqual(JSON.parse(gotify?.body ?? ''), {
    title: 'gc "main" failed',
    message: 'line one\nline two',
    priority: 5,
  });
  const slack = await send('slack', { url: `${at}/services/T0/B0/x` });
  assert.equal(slack?.url, '/services/T0/B0/x');
  assert.deepEqual(JSON.parse(slack?.body ?? ''), { text: '*gc "main" failed*\nline one\nline two' });
  const ping = await send('ping', { url: `${at}/ping/uuid` });
  assert.deepEqual([ping?.method, ping?.url, ping?.body], ['GET', '/ping/uuid', '']);
  assert.throws(() => presetOf('gotify', { url: at }), { code: 'bad-argument' });
});

test('only 2xx counts; redirects carry no secret on; errors hold no secret', async (t) => {
  const trap = await httpServer(t);
  for (const [status, headers, reason] of [
    [500, {}, /answered 500: it broke \[hidden\]/],
    [404, {}, /answered 404/],
    [302, { location: trap.at }, /redirects, which is not followed/],
    [307, { location: trap.at }, /redirects/],
  ] as const) {
    const { at } = await httpServer(t, (response) => response.writeHead(status, headers).end('it broke s3cret'));
    const hook = config({
      url: `${at}/{{secrets.key}}`,
      headers: [{ name: 'X-Key', value: '{{secrets.key}}' }],
      body: 'x',
    });
    await assert.rejects(
      webhookTarget(hook, { key: 's3cret' }).send(message, never),
      (error: Error & { code: string }) => {
        assert.equal(error.code, 'target-failed');
        assert.match(error.message, reason);
        assert.doesNotMatch(`${error.stack}${JSON.stringify(error)}`, /s3cret/);
        return true;
      },
    );
  }
  assert.equal(trap.asked.length, 0);
});

test('a webhook that hangs, drips or answers without end is left in time', async (t) => {
  const hanging = await socketServer(t, () => undefined);
  const dripping = await socketServer(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nx: ');
    const drip = setInterval(() => socket.write('H'), 50);
    socket.on('close', () => clearInterval(drip));
  });
  let sent = 0;
  const { at } = await httpServer(t, (response) => {
    response.writeHead(200);
    const more = (): void => {
      while (!response.destroyed && response.write('x'.repeat(65_536))) sent += 65_536;
    };
    response.on('drain', more);
    more();
  });
  const send = (url: string) => webhookTarget(config({ url, body: 'x' }), {}, 500).send(message, never);
  for (const port of [hanging, dripping]) {
    const begin = performance.now();
    await assert.rejects(send(`http://127.0.0.1:${port}/`), { code: 'timed-out' });
    assert.ok(performance.now() - begin < 1500);
  }
  assert.deepEqual(await send(at), { refused: [] });
  assert.ok(sent < 64 * 1024 * 1024, `${sent} bytes of an answer were taken`);
  await assert.rejects(send('http://127.0.0.1:1/'), {
    code: 'server-unreachable',
    message: /ECONNREFUSED|127.0.0.1:1/,
  });
});

test('a certificate that nobody vouches for gets nothing', async (t) => {
  const directory = temporaryDirectory(t);
  const paths = { certificate: join(directory, 'crt'), key: join(directory, 'key') };
  const { cert, key } = await ensureSelfSigned(paths, ['127.0.0.1'], Date.now());
  let asked = 0;
  const server = createTlsServer({ cert, key }, (_, response) => {
    asked++;
    response.end();
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  await assert.rejects(webhookTarget(config({ url, body: 'x' }), {}).send(message, never), {
    code: 'server-untrusted',
  });
  assert.equal(asked, 0);
});
