// What commands say of a server that is none of ours: another program at that port, a proxy, an answer that is cut off or of another
// version. Real sockets; never a bug of Holdfast, and nothing is shown or kept of such an answer.
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer as createPlainServer } from 'node:http';
import { createServer, type Server } from 'node:https';
import { type AddressInfo, createServer as createSocketServer } from 'node:net';
import { before, test } from 'node:test';
import { makeCertificate, type TestCertificate } from '../transport/client/certificate.ts';
import { type Ending, holdfast, messageOf, newPlace, type Place } from './holdfast.ts';
import { ask, run } from './running-server.ts';

type Answer = readonly [status: number, type: string, text: string];
const JSON_TYPE = 'application/json';
const data = (value: unknown): Answer => [200, JSON_TYPE, JSON.stringify({ data: value })];

let certificate: TestCertificate;
before(async () => {
  certificate = await makeCertificate('foreign');
});

interface Foreign {
  readonly port: number;
  /** Runs with its address, as a token. */
  run(...args: string[]): Promise<Awaited<ReturnType<typeof holdfast>>>;
}

async function foreign(t: Ending, answerTo: (path: string) => Answer, place?: Place): Promise<Foreign> {
  const server: Server = createServer(certificate, (request, response) => {
    request.resume().on('end', () => {
      const [status, type, text] = answerTo(request.url ?? '');
      response.writeHead(status, { 'content-type': type }).end(text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const env = {
    HOLDFAST_TOKEN_SECRET: 'secret',
    HOLDFAST_FINGERPRINT: certificate.fingerprint,
    ...(place !== undefined && { HOLDFAST_STATE_DIR: place.path('state') }),
  };
  const at = ['--repository', `https://anna@local!t@127.0.0.1:${port}/x`, '--output-format', 'json'];
  return { port, run: async (...args) => await holdfast([...args, ...at], { env }) };
}

test('other programs and proxies are named, with what they said and what to do', async (t) => {
  let answer: Answer = data(null);
  const { port, run: command } = await foreign(t, () => answer);
  const cases: (readonly [Answer, RegExp])[] = [
    [
      [200, 'text/html', '<!DOCTYPE html><title>Welcome\nto nginx!</title>'],
      /a page of HTML \(Welcome to nginx!\), not as/,
    ],
    [[502, 'text/html', '<html><title>502 Bad Gateway</title></html>'], /status 502: .*a proxy which does not reach/],
    [[404, 'text/html', '<html>Not Found</html>'], /status 404: a page of HTML; .*host and port/],
    [[302, 'text/html', ''], /status 302; .*host and port/],
    [[200, JSON_TYPE, '{"data":[{"userid":'], /JSON that is cut off/],
    [[200, 'text/plain', ''], /with nothing, not as/],
    [[200, 'text/plain', `OK${'x'.repeat(5000)}`], /'OKx+…', not as/],
    [[200, JSON_TYPE, 'null'], /JSON without a member data/],
    [[200, JSON_TYPE, '{"items":[]}'], /JSON without a member data/],
    [data([{ userid: 7 }]), /\/0\/userid/],
  ];
  for (const [each, pattern] of cases) {
    answer = each;
    const message = messageOf(await command('user', 'list'), 'protocol-failed');
    assert.match(message, pattern);
    assert.ok(message.startsWith(`https://127.0.0.1:${port} answered GET /access/users with `), message);
    assert.ok(message.length < 500, message);
  }
});

test('no command takes an answer of another form for its own', async (t) => {
  const place = await newPlace(t, { create: false });
  writeFileSync(place.path('a.conf'), 'content');
  let answer: Answer = data('x');
  const { run: command } = await foreign(t, () => answer, place);
  const one = 'host/a/2026-01-01T00:00:00Z';
  const commands = [
    ['backup', '--group', 'host/a', `a.conf:${place.path('a.conf')}`],
    ['restore', 'host/a/latest', 'a.conf', place.path('out')],
    ['snapshot', 'list'],
    ['snapshot', 'show', 'host/a/latest'],
    ['snapshot', 'files', 'host/a/latest', 'x'],
    ['snapshot', 'forget', one],
    ['snapshot', 'note', one, 'text'],
    ['snapshot', 'lock', one, '--for', '1d'],
    ['prune', '--group', 'host/a', '--keep-last', '1'],
    ['datastore', 'gc'],
    ['datastore', 'verify'],
    ['datastore', 'account'],
    ['anomaly', 'list'],
    ['anomaly', 'clear', 'host/a'],
    ['job', 'list'],
    ['node', 'list'],
    ['node', 'remove', 'n'],
    ['user', 'create', 'b@local', '--no-password'],
    ['notify', 'queue'],
  ];
  for (const each of [data('x'), data([null]), data({ result: { removed: 'all' } })]) {
    answer = each;
    const ends = [...commands];
    // Two at once, as many as there are processors.
    const work = async (): Promise<void> => {
      for (let args = ends.shift(); args !== undefined; args = ends.shift()) {
        const message = messageOf(await command(...args), 'protocol-failed');
        assert.match(message, /^https:\/\/127\.0\.0\.1:\d+ answered .* JSON of another form/, args.join(' '));
      }
    };
    await Promise.all([work(), work()]);
  }
  assert.ok(!existsSync(place.path('out')), 'nothing is restored');
});

test('the result of a long task is looked at like any other answer', async (t) => {
  const upid = 'UPID:x:00000001:00000001:00000001:69000000:garbage_collection:x:anna@local:';
  const { run: command } = await foreign(t, (path) => {
    if (path.endsWith('/status')) return data({ status: 'stopped', exitstatus: 'OK' });
    if (path.endsWith('/result')) return data({ result: { objectsLost: 'none' }, warnings: [] });
    return data({ upid });
  });
  assert.match(messageOf(await command('datastore', 'gc'), 'protocol-failed'), /answered gc with JSON of another form/);
});

test('what speaks no TLS, or no HTTP, is said to be so', async (t) => {
  const plain = createPlainServer((_, response) => response.end('hello'));
  const ssh = createSocketServer((socket) => {
    socket.on('error', () => {});
    socket.end('SSH-2.0-OpenSSH_9.2p1\r\n');
  });
  for (const server of [plain, ssh]) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    const { port } = server.address() as AddressInfo;
    const at = ['--repository', `https://anna@local!t@127.0.0.1:${port}/x`, '--output-format', 'json'];
    const env = { HOLDFAST_TOKEN_SECRET: 'secret', HOLDFAST_FINGERPRINT: certificate.fingerprint };
    const message = messageOf(await holdfast(['user', 'list', ...at], { env }), 'protocol-failed');
    assert.match(message, new RegExp(`^https://127.0.0.1:${port} does not speak HTTP over TLS: [a-z ]+; look at`));
  }
});

test('a server that does not know a call is another version, and a server says so of itself', async (t) => {
  const place = await newPlace(t, { create: false });
  const server = await run(t, place, '--bulk-port', '0');
  const { value } = await place.json<{ value: string }>(
    'token',
    'create',
    'root@pam',
    'cli',
    '--state-dir',
    place.path('server'),
  );
  const coded = { accept: 'application/vnd.holdfast.error+json' };
  const { status, text } = await ask(server.port, '/api2/json/config/later', `root@pam!cli:${value}`, coded);
  assert.equal(status, 404);
  const { run: command } = await foreign(t, () => [status, coded.accept, text]);
  const message = messageOf(await command('job', 'list'), 'protocol-failed');
  assert.match(message, /^https:.* does not know GET \/config\/jobs: it is another version of Holdfast/);
});
