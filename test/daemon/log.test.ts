// Whatever is logged: JSON lines, and no secret in them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLog, type Log } from '../../src/daemon/log.ts';
import { HoldfastError } from '../../src/util/errors.ts';

const SECRET = 'hunter2-hunter2';
const TICKET = `PBS:root@pam:65A1B2C3::${Buffer.from(SECRET.repeat(8)).toString('base64')}`;

function logged(write: (log: Log) => void): Record<string, unknown>[] {
  const lines: string[] = [];
  write(createLog('info', { write: (line) => void lines.push(line) }));
  return lines.map((line) => JSON.parse(line));
}

test('a line is JSON with level, time and message', () => {
  const [line, ...more] = logged((log) => {
    log.info({ datastore: 'store1', bytes: 5 }, 'opened');
    log.debug('not at this level');
  });
  const { time, ...rest } = line;
  assert.deepEqual(rest, { level: 'info', datastore: 'store1', bytes: 5, msg: 'opened' });
  assert.ok(Math.abs(Date.parse(time as string) - Date.now()) < 60_000);
  assert.equal(more.length, 0);
});

test('secrets are hidden wherever they stand', () => {
  const ways: ((log: Log) => void)[] = [
    (log) => log.info({ authorization: `PBSAPIToken=root@pam!ci:${SECRET}` }, 'x'),
    (log) => log.info({ headers: { Authorization: SECRET, cookie: `PBSAuthCookie=${SECRET}` } }, 'x'),
    (log) => log.info({ request: { headers: [{ 'set-cookie': [SECRET] }] } }, 'x'),
    (log) => log.info({ body: { password: SECRET, newPassword: SECRET, passphrase: SECRET } }, 'x'),
    (log) => log.info({ CSRFPreventionToken: SECRET, ticket: SECRET, token: SECRET, otp: SECRET }, 'x'),
    (log) => log.info({ a: { b: { c: { secret: { deep: SECRET } } } } }, 'x'),
    (log) => log.info(`authorization: PBSAPIToken=root@pam!ci:${SECRET}`),
    (log) => log.info(`PVEAPIToken root@pam!ci:${SECRET}`),
    (log) => log.info(`cookie __Host-PBSAuthCookie=${SECRET}; PVEAuthCookie=${SECRET}`),
    (log) => log.info({ url: `/api2/json/x?a=1&password=${SECRET}&ticket=${SECRET}` }, `GET /x?token=${SECRET}`),
    (log) => log.info(`ticket ${TICKET} was refused`),
    (log) => log.info({ said: `Bearer ${SECRET}` }, 'x'),
    (log) => log.error({ err: new Error(`bad PBSAPIToken=root@pam!ci:${SECRET}`) }, 'x'),
    (log) => log.error(new HoldfastError('bad-name', 'x', { data: { password: SECRET }, cause: new Error(TICKET) })),
    (log) => log.info({ key: `-----BEGIN EC PRIVATE KEY-----\n${SECRET}\n-----END EC PRIVATE KEY-----` }, 'x'),
    (log) => log.info('%s', `PBSAPIToken=a@b!c:${SECRET}`),
    (log) => log.info('%o', { password: SECRET }),
  ];
  for (const [place, way] of ways.entries()) {
    const text = JSON.stringify(logged(way));
    assert.match(text, /\[hidden\]/, `${place}: ${text}`);
    assert.ok(!text.includes(SECRET), `${place}: ${text}`);
    assert.ok(!text.includes(TICKET.slice(-20)), `${place}: ${text}`);
  }
});

test('what is no secret stays, and an error keeps what tells where it was', () => {
  const [line] = logged((log) =>
    log.warn(
      { tokenid: 'root@pam!ci', user: 'root@pam', err: new HoldfastError('not-found', 'no', { data: { name: 'a' } }) },
      'x',
    ),
  );
  const { err, ...rest } = line as { err: Record<string, unknown> };
  assert.equal((rest as Record<string, unknown>).tokenid, 'root@pam!ci');
  assert.deepEqual([err.type, err.message, err.code, err.data], ['HoldfastError', 'no', 'not-found', { name: 'a' }]);
  assert.match(err.stack as string, /log\.test/);
});

test('what is logged is bounded, also what contains itself', () => {
  const ring: Record<string, unknown> = { many: Array.from({ length: 5000 }, () => 'x'), long: 'x'.repeat(100_000) };
  ring.self = ring;
  const text = JSON.stringify(logged((log) => log.info(ring, 'y'.repeat(100_000))));
  assert.ok(text.length < 200_000, String(text.length));
  assert.match(text, /\(cut\)/);
});
