import assert from 'node:assert/strict';
import { createConnection } from 'node:net';
import { test } from 'node:test';
import { checkPath, collapseSlashes } from '../../src/api/dialect/request-path.ts';
import { ApiRig } from './rig.ts';

test('doubled and trailing slashes go, and the query stays as it is', () => {
  const pairs = [
    ['//api2/json//version', '/api2/json/version'],
    ['/api2/json/version/', '/api2/json/version'],
    ['/api2/json/version/?a=//b/', '/api2/json/version?a=//b/'],
    ['/', '/'],
    ['', '/'],
    ['?a', '/?a'],
    ['/api2/json/a%2F%2Fb', '/api2/json/a%2F%2Fb'],
  ];
  for (const [from = '', to] of pairs) assert.equal(collapseSlashes(from), to);
});

test('parts that begin with a dot are refused, however they are written', () => {
  for (const path of ['/a/..', '/a/../b', '/./a', '/.hidden/b', '/%2e%2e/b', '/a%2f..%2fb', '/a%2f.b', '/%2E'])
    assert.throws(() => checkPath(path), { status: 400 }, path);
  for (const path of ['/a.b', '/a..b', '/a/b.', '/a?x=../..', '/a%2fb']) checkPath(path);
  assert.throws(() => checkPath('/%ff'), { status: 400 });
  assert.throws(() => checkPath(`/${'a'.repeat(3072)}`), { status: 414 });
  checkPath(`/${'a'.repeat(3071)}`);
});

test('a raw request with dots is refused as written, and nothing below another path is reached', async () => {
  const rig = new ApiRig();
  try {
    await rig.app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = rig.app.server.address() as { port: number };
    const { cookie } = rig.headers('root@pam') as { cookie: string };
    const ask = async (path: string): Promise<string> => {
      const socket = createConnection({ host: '127.0.0.1', port });
      socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncookie: ${cookie}\r\n\r\n`);
      let answer = '';
      for await (const part of socket) answer += String(part);
      return answer;
    };
    for (const path of ['/api2/json/access/users/..', '/api2/json/../json/version', '/api2/json/access/users/%2e%2e/x'])
      assert.match(await ask(path), /^HTTP\/1\.1 400 /, path);
    assert.match(await ask('//api2/json///version//'), /^HTTP\/1\.1 200 /);
    assert.match(await ask('/api2/json/%c0%af'), /^HTTP\/1\.1 400 /);
    assert.match(await ask(`/api2/json/version?a=${'x'.repeat(4000)}`), /^HTTP\/1\.1 414 /);
    assert.deepEqual(rig.bugs, []);
  } finally {
    await rig.close();
  }
});

test('guessing is slowed: a refusal of the caller and of the right come late', async () => {
  const slow = new ApiRig({ unauthorizedMs: 300, forbiddenMs: 150 });
  try {
    slow.access.grant('a@pbs', {});
    const timed = async (who: string | undefined): Promise<number> => {
      const started = performance.now();
      await slow.call(who, 'GET', '/nodes');
      return performance.now() - started;
    };
    assert.ok((await timed(undefined)) >= 299);
    assert.ok((await timed('a@pbs')) >= 149);
    assert.ok((await timed('root@pam')) < 149);
  } finally {
    await slow.close();
  }
});
