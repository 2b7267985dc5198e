// Second factors from the command line: added on the server's machine and from afar, shown once, and asked for where a user signs in.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Secret, TOTP, URI } from 'otpauth';
import { ERROR_CODES } from '../../src/util/errors.ts';
import { without } from '../agent/nbd/servers.ts';
import { type Ending, messageOf, newPlace, type Place } from './holdfast.ts';
import { onTerminal } from './on-terminal.ts';
import { type Running, run } from './running-server.ts';

const PASSWORD = 'correct horse battery';
const KEY = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ';

interface Fixture {
  readonly place: Place;
  readonly at: string[];
  /** As anna, who has signed in with her password. */
  readonly remote: string[];
  readonly env: Record<string, string>;
  readonly server: Running;
}

async function fixture(t: Ending): Promise<Fixture> {
  const place = await newPlace(t, { create: false });
  const server = await run(t, place, '--bulk-port', '0');
  const at = ['--state-dir', place.path('server')];
  writeFileSync(place.path('password'), PASSWORD);
  await place.run('user', 'create', 'anna@local', '--password-file', place.path('password'), ...at);
  const remote = ['--repository', `https://anna@local@127.0.0.1:${server.port}/x`];
  return { place, at, remote, env: { HOLDFAST_PASSWORD: PASSWORD, HOLDFAST_FINGERPRINT: server.fingerprint }, server };
}

/** `offset` in steps: each code counts once. */
function codeOf(uri: string, offset = 0): string {
  return (URI.parse(uri) as TOTP).generate({ timestamp: Date.now() + offset * 30_000 });
}

/** A code that fits no step near now. */
function wrongCode(uri: string): string {
  const near = [-2, -1, 0, 1, 2].map((offset) => codeOf(uri, offset));
  return ['000000', '111111', '222222', '333333', '444444', '555555'].find((code) => !near.includes(code)) as string;
}

function uriOn(screen: string): string {
  const found = screen.match(/otpauth:\S+/g) ?? [];
  assert.equal(found.length, 1, `shown once: ${screen}`);
  return found[0] as string;
}

interface Added {
  readonly userid: string;
  readonly id: string;
  readonly type: string;
  readonly recovery?: string[];
}

const rows = async ({ place, at }: Fixture) =>
  (await place.json<{ entries: { id: string; type: string; description: string }[] }[]>('tfa', 'list', ...at)).flatMap(
    ({ entries }) => entries,
  );

test('a key is shown once on the terminal and confirmed with a code; a wrong one can be typed again', {
  skip: without('script'),
}, async (t) => {
  const made = await fixture(t);
  const { place, at } = made;
  const add = ['tfa', 'add', 'anna@local', 'totp', '--description', 'phone'];
  const ran = await onTerminal(
    place,
    [...add, ...at],
    [
      ['code that it shows', (screen) => `${wrongCode(uriOn(screen))}\r`],
      ['code that it shows', (screen) => `${codeOf(uriOn(screen))}\r`],
    ],
  );
  assert.equal(ran.code, 0, ran.screen);
  assert.match(ran.screen, /does not fit the key/);
  const key = URI.parse(uriOn(ran.screen)) as TOTP;
  assert.deepEqual([key.label, /^Holdfast ./.test(key.issuer), key.secret.bytes.length], ['anna@local', true, 20]);
  const [, spaced = ''] = /secret ([A-Z2-7 ]+)/.exec(ran.screen) ?? [];
  assert.equal(spaced.replaceAll(' ', ''), key.secret.base32);
  const [entry, ...more] = await rows(made);
  assert.deepEqual([entry?.type, entry?.description, more], ['totp', 'phone', []]);
  assert.match(ran.screen, new RegExp(`added totp as the second factor ${entry?.id} of anna@local`));

  const wrong = await onTerminal(
    place,
    [...add, ...at],
    Array.from(
      { length: 3 },
      () => ['code that it shows', (screen: string) => `${wrongCode(uriOn(screen))}\r`] as const,
    ),
  );
  assert.equal(wrong.code, 2, wrong.screen);
  const stopped = await onTerminal(place, [...add, ...at], [['code that it shows', '\x03']]);
  assert.equal(stopped.code, 130);
  const nobody = await onTerminal(place, ['tfa', 'add', 'bob@local', 'totp', ...at], []);
  assert.equal(nobody.code, 4);
  assert.ok(!nobody.screen.includes('otpauth:'), 'no key is shown that nobody can have');
  assert.equal((await rows(made)).length, 1);
});

test('without a terminal a key and a code of it are given; recovery codes are in the result once', async (t) => {
  const made = await fixture(t);
  const { place, at } = made;
  const totp = new TOTP({ secret: Secret.fromBase32(KEY) });
  const add = (...args: string[]) => ['tfa', 'add', 'anna@local', ...args, ...at, '--output-format', 'json'];
  const withKey = async (key: string, ...args: string[]) =>
    await place.try(add('totp', '--secret-file', '-', ...args), { stdin: Buffer.from(key) });
  const first = await withKey(`${KEY.toLowerCase().replace(/.{4}/g, '$& ')}\n`, '--code', totp.generate());
  assert.equal(first.code, 0, first.stderr);
  const { userid, type } = JSON.parse(first.stdout.toString()) as Added;
  assert.deepEqual([userid, type], ['anna@local', 'totp']);
  const uri = `otpauth://totp/x:anna?secret=${KEY}&digits=8`;
  assert.equal((await withKey(uri, '--code', codeOf(uri))).code, 0);

  const codes = await place.json<Added>('tfa', 'add', 'anna@local', 'recovery', ...at);
  assert.equal(new Set(codes.recovery).size, 10);
  assert.match(codes.recovery?.[0] ?? '', /^[0-9a-z]{4}(-[0-9a-z]{4}){3}$/);
  const before = await rows(made);
  assert.deepEqual(before.map((each) => each.type).sort(), ['recovery', 'totp', 'totp']);

  const failsWith = async (code: Parameters<typeof messageOf>[1], pattern: RegExp, ...args: string[]) =>
    assert.match(messageOf(await place.try(add(...args), { through: ['setsid', '-w'] }), code), pattern);
  await failsWith('exists', /remove them/, 'recovery');
  await failsWith('bad-argument', /--secret-file.*--code/, 'totp');
  await failsWith('bad-argument', /--secret-file/, 'totp', '--code', '123456');
  await failsWith('bad-argument', /totp or recovery/, 'u2f');
  await failsWith('bad-argument', /are of totp/, 'recovery', '--description', 'x');
  await failsWith('not-found', /gone/, 'totp', '--secret-file', place.path('gone'), '--code', '123456');
  const wrong = await withKey(uri, '--code', wrongCode(uri));
  assert.match(messageOf(wrong, 'bad-argument'), /clocks/);
  for (const key of ['GEZDGNBV', 'not a key!', 'otpauth://hotp/x', `${KEY}\n${KEY}`, '']) {
    const message = messageOf(await withKey(key, '--code', '123456'), 'bad-argument');
    assert.ok(!message.includes('GEZD'), message);
  }
  assert.match(await place.fails('not-found', 'tfa', 'add', 'bob@local', 'recovery', ...at), /bob@local/);
  assert.deepEqual(await rows(made), before, 'nothing is half done');
});

test('from afar whoever signed in with a password adds factors, and is asked for one from then on', {
  skip: without('script'),
}, async (t) => {
  const made = await fixture(t);
  const { place, at, remote, env, server } = made;
  const json = async (...args: string[]) => await place.try([...args, ...remote, '--output-format', 'json'], { env });
  messageOf(await json('tfa', 'add', 'root@pam', 'recovery'), 'permission-denied');
  const { recovery = [] } = JSON.parse((await json('tfa', 'add', 'anna@local', 'recovery')).stdout.toString()) as Added;
  assert.equal(recovery.length, 10);

  // From now on a password alone is too little.
  const alone = await place.try(['tfa', 'list', ...remote, '--output-format', 'json'], {
    env,
    through: ['setsid', '-w'],
  });
  assert.match(messageOf(alone, 'bad-argument'), /second factor/);
  const question = 'Second factor of anna@local';
  const totp = ['tfa', 'add', 'anna@local', 'totp', ...remote];
  const added = await onTerminal(
    place,
    totp,
    [
      [question, `${recovery[0]}\r`],
      ['code that it shows', (screen) => `${wrongCode(uriOn(screen))}\r`],
      ['code that it shows', (screen) => `${codeOf(uriOn(screen))}\r`],
    ],
    env,
  );
  assert.equal(added.code, 0, added.screen);
  const uri = uriOn(added.screen);
  assert.equal((URI.parse(uri) as TOTP).issuer, 'Holdfast 127.0.0.1');
  assert.deepEqual((await rows(made)).map(({ type }) => type).sort(), ['recovery', 'totp']);
  // A code counts once: the next one of the key.
  const listed = await onTerminal(place, ['tfa', 'list', ...remote], [[question, () => `${codeOf(uri, 1)}\r`]], env);
  assert.equal(listed.code, 0, listed.screen);
  const again = await onTerminal(place, ['tfa', 'list', ...remote], [[question, `${recovery[0]}\r`]], env);
  assert.equal(again.code, 40, 'a recovery code is good once');

  const { value } = await place.json<{ value: string }>('token', 'create', 'anna@local', 'cli', ...at);
  const token = ['--repository', `https://anna@local!cli@127.0.0.1:${server.port}/x`, '--output-format', 'json'];
  for (const type of ['totp', 'recovery']) {
    const refused = await place.try(['tfa', 'add', 'anna@local', type, ...token], {
      env: { HOLDFAST_TOKEN_SECRET: value, HOLDFAST_FINGERPRINT: server.fingerprint },
      through: ['setsid', '-w'],
    });
    assert.match(messageOf(refused, 'permission-denied'), /not with a token/);
  }
});

test('from afar no key is shown for another user to somebody who may only look at users', {
  skip: without('script'),
}, async (t) => {
  const made = await fixture(t);
  const { place, at, remote, env } = made;
  await place.run('user', 'create', 'bob@local', '--password-file', place.path('password'), ...at);
  const addTotp = ['tfa', 'add', 'bob@local', 'totp', ...remote];
  for (const [path, role] of [
    ['/access', 'Audit'],
    ['/access/users', 'Admin'],
  ] as const) {
    await place.run('acl', 'set', path, role, '--auth-id', 'anna@local', ...at);
    const refused = await onTerminal(place, addTotp, [], env);
    assert.equal(refused.code, ERROR_CODES['permission-denied'][1], refused.screen);
    assert.doesNotMatch(refused.screen, /otpauth|secret/);
    assert.match(refused.screen, /Permissions\.Modify/);
  }
  await place.run('acl', 'set', '/', 'Admin', '--auth-id', 'anna@local', ...at);
  const added = await onTerminal(
    place,
    addTotp,
    [['code that it shows', (screen) => `${codeOf(uriOn(screen))}\r`]],
    env,
  );
  assert.equal(added.code, 0, added.screen);
  const forRoot = await onTerminal(place, ['tfa', 'add', 'root@pam', 'totp', ...remote], [], env);
  assert.equal(forRoot.code, ERROR_CODES['permission-denied'][1], forRoot.screen);
  assert.doesNotMatch(forRoot.screen, /otpauth/);
});
