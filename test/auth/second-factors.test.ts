import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Secret } from 'otpauth';
import { BACKUP_CREDENTIALS } from '../../src/auth/credentials.ts';
import { SecondFactors } from '../../src/auth/second-factors.ts';
import { acceptedStep, parseTotpUri } from '../../src/auth/totp.ts';
import type { UserId } from '../../src/schema/auth-id.ts';
import {
  addUser,
  as,
  type Fixture,
  newTotpUri,
  openFixture,
  passwordOf,
  ROOT,
  signIn,
  withCode,
} from './access-fixture.ts';

const REFUSED = withCode('not-authenticated', /^permission check failed\.$/);

const rfcKey = (length: number): string => Secret.fromLatin1('1234567890'.repeat(7).slice(0, length)).base32;
/** The keys of RFC 6238, appendix B. */
const RFC_KEYS = {
  SHA1: rfcKey(20),
  SHA256: rfcKey(32),
  SHA512: rfcKey(64),
} as const;
const RFC_CODES: readonly [seconds: number, sha1: string, sha256: string, sha512: string][] = [
  [59, '94287082', '46119246', '90693936'],
  [1111111109, '07081804', '68084774', '25091201'],
  [1111111111, '14050471', '67062674', '99943326'],
  [1234567890, '89005924', '91819424', '93441116'],
  [2000000000, '69279037', '90698825', '38618901'],
  [20000000000, '65353130', '77737706', '47863826'],
];

test('codes are those of RFC 6238', () => {
  for (const [column, algorithm] of (['SHA1', 'SHA256', 'SHA512'] as const).entries()) {
    const uri = `otpauth://totp/x:anna?secret=${RFC_KEYS[algorithm]}&digits=8&algorithm=${algorithm}`;
    for (const [seconds, ...codes] of RFC_CODES) {
      const step = Math.floor(seconds / 30);
      assert.equal(
        acceptedStep(parseTotpUri(uri), codes[column], seconds * 1000, -1),
        step,
        `${algorithm} at ${seconds}`,
      );
      assert.equal(acceptedStep(parseTotpUri(uri), codes[column], seconds * 1000, step), undefined, 'once');
      assert.equal(acceptedStep(parseTotpUri(uri), codes[column], seconds * 1000 + 30_000, -1), step, 'a step late');
      assert.equal(acceptedStep(parseTotpUri(uri), codes[column], seconds * 1000 + 60_000, -1), undefined, 'two late');
    }
  }
});

test('only keys that are strong enough are taken, and none is repeated in the answer', () => {
  const good = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ';
  assert.ok(parseTotpUri(newTotpUri('anna@local', 'Holdfast backup.example')));
  const bad = ['', 'x', `otpauth://hotp/x:a?secret=${good}&counter=1`, 'otpauth://totp/x:a?secret=GEZDGNBVGY3TQOJQ'];
  bad.push(`otpauth://totp/x:a?secret=${good}&digits=4`, `otpauth://totp/x:a?secret=${good}&period=86400`);
  bad.push(
    `otpauth://totp/x:a?secret=${good}&algorithm=MD5`,
    `otpauth://totp/x:a?secret=${good}&x=${'y'.repeat(1024)}`,
  );
  bad.push('otpauth://totp/x:a?secret=1!1', 'https://example.org/');
  for (const uri of bad)
    assert.throws(
      () => parseTotpUri(uri),
      (error: Error) => withCode('bad-argument')(error) && !error.message.includes('GEZD'),
      uri,
    );
});

interface Enrolled {
  readonly fixture: Fixture;
  readonly anna: UserId;
  readonly id: string;
  /** The code of so many seconds from now. */
  code(seconds?: number): string;
  challenge(): Promise<string>;
  answer(text: string): Promise<{ readonly ticket: string }>;
}

async function enrolled(t: Parameters<typeof openFixture>[0]): Promise<Enrolled> {
  const fixture = await openFixture(t);
  const anna = await addUser(fixture, 'anna');
  const uri = newTotpUri(anna);
  const totp = parseTotpUri(uri);
  const code = (seconds = 0): string => totp.generate({ timestamp: fixture.clock.nowMs + seconds * 1000 });
  const confirmation = passwordOf('anna');
  const id = await fixture.access.addTotp(as(anna), anna, { uri, code: code(), description: 'phone', confirmation });
  const challenge = async (): Promise<string> => {
    const { ticket, needsSecondFactor, csrfToken } = await signIn(fixture, anna, passwordOf('anna'));
    assert.deepEqual([needsSecondFactor, csrfToken], [true, 'invalid']);
    return ticket;
  };
  const answer = async (text: string) => {
    // So that it is the second factor that refuses, and no throttle.
    fixture.clock.passSeconds(1000);
    return signIn(fixture, anna, text, await challenge());
  };
  return { fixture, anna, id, code, challenge, answer };
}

test('with a second factor a password gives a challenge, and the right code a ticket, once', async (t) => {
  const { fixture, anna, code, challenge } = await enrolled(t);
  const first = await challenge();
  await assert.rejects(
    signIn(fixture, anna, `totp:${code()}`, first),
    REFUSED,
    'the code that was shown when it was added',
  );
  fixture.clock.passSeconds(30);
  const second = await challenge();
  const { needsSecondFactor } = await signIn(fixture, anna, `totp:${code()}`, second);
  assert.equal(needsSecondFactor, false);
  await assert.rejects(signIn(fixture, anna, `totp:${code()}`, second), REFUSED, 'replayed');
  await assert.rejects(signIn(fixture, anna, `totp:${code(-30)}`, second), REFUSED, 'of before');
  assert.ok((await signIn(fixture, anna, `totp:${code(30)}`, second)).ticket, 'a step ahead');
});

test('a challenge is no ticket, ends after five minutes, and with a new password', async (t) => {
  const { fixture, anna, code, challenge } = await enrolled(t);
  const old = await challenge();
  const cookie = `PBSAuthCookie=${encodeURIComponent(old)}`;
  const credentials = {
    style: BACKUP_CREDENTIALS,
    authorization: undefined,
    cookie,
    csrfToken: undefined,
    method: 'GET',
    address: '',
  };
  await assert.rejects(fixture.authenticator.authenticate(credentials, fixture.clock.nowMs));
  await assert.rejects(signIn(fixture, anna, old), REFUSED, 'as a password');
  await addUser(fixture, 'bob');
  fixture.clock.passSeconds(60);
  await assert.rejects(signIn(fixture, 'bob@local', `totp:${code()}`, old), REFUSED, "another's");
  fixture.clock.passSeconds(241);
  await assert.rejects(signIn(fixture, anna, `totp:${code()}`, old), REFUSED, 'too late');
  fixture.clock.passSeconds(1000);
  const fresh = await challenge();
  await fixture.access.setPassword(ROOT, anna, 'another password');
  await assert.rejects(signIn(fixture, anna, `totp:${code()}`, fresh), REFUSED, 'the password is another');
});

test('eight wrong codes lock; a recovery code or an administrator unlocks', async (t) => {
  const { fixture, anna, code, answer } = await enrolled(t);
  const [one] = await fixture.access.addRecovery(as(anna), anna, passwordOf('anna'));
  const wrong = () => `totp:${code() === '000000' ? '111111' : '000000'}`;
  const guess = async (times: number): Promise<void> => {
    for (let round = 0; round < times; round++) await assert.rejects(answer(wrong()), REFUSED);
  };
  await guess(7);
  assert.ok((await answer(`totp:${totpSoon(code)}`)).ticket, 'seven are no lock');
  await guess(8);
  assert.ok(fixture.access.getUser(ROOT, anna).user.totpLocked);
  await assert.rejects(answer(`totp:${totpSoon(code)}`), REFUSED, 'also the right one');
  assert.ok((await answer(`recovery:${one.toUpperCase().replaceAll('-', ' ')}`)).ticket);
  assert.ok((await answer(`totp:${totpSoon(code)}`)).ticket, 'unlocked by it');
  await assert.rejects(answer(`recovery:${one}`), REFUSED, 'each once');

  await guess(8);
  assert.equal(fixture.access.unlockTfa(ROOT, anna), true);
  assert.equal(fixture.access.unlockTfa(ROOT, anna), false);
  assert.throws(() => fixture.access.unlockTfa(as(anna), anna), withCode('permission-denied'));
  assert.ok((await answer(`totp:${totpSoon(code)}`)).ticket);
  assert.equal((await fixture.stores.audit.list({ limit: 100, action: 'tfa-locked' })).length, 2);
});

/** The code as of when `answer` has let its pause pass. */
function totpSoon(code: (seconds: number) => string): string {
  return code(1000);
}

test('eight wrong recovery codes lock everything for an hour', async (t) => {
  const { fixture, anna, code, answer } = await enrolled(t);
  const codes = await fixture.access.addRecovery(as(anna), anna, passwordOf('anna'));
  assert.equal(new Set(codes).size, 10);
  for (let round = 0; round < 8; round++) await assert.rejects(answer('recovery:aaaa-aaaa-aaaa-aaaa'), REFUSED);
  assert.ok(fixture.access.getUser(ROOT, anna).user.tfaLockedUntil > fixture.clock.seconds);
  const verdict = new SecondFactors(fixture.stores.secondFactors, fixture.state).answer(
    anna,
    `recovery:${codes[0]}`,
    fixture.clock.nowMs,
  );
  assert.equal(verdict, 'refused', 'also to a challenge of before');
  const locked = withCode('not-authenticated', /administrator/);
  await assert.rejects(answer(`totp:${totpSoon(code)}`), locked);
  await assert.rejects(answer(`recovery:${codes[0]}`), locked);
  fixture.clock.passSeconds(3600);
  assert.ok((await answer(`recovery:${codes[0]}`)).ticket);
});

test('all ten recovery codes work, each once, and then there is nothing to ask for', async (t) => {
  const fixture = await openFixture(t);
  const anna = await addUser(fixture, 'anna');
  const codes = await fixture.access.addRecovery(as(anna), anna, passwordOf('anna'));
  for (const [used, code] of codes.entries()) {
    const { ticket } = await signIn(fixture, anna, passwordOf('anna'));
    const left = fixture.stores.secondFactors.recoveryCodes(anna);
    assert.ok(ticket.includes(`"recovery"%3A[${left}]`));
    assert.equal(left.length, 10 - used);
    assert.ok((await signIn(fixture, anna, `recovery:${code}`, ticket)).ticket);
  }
  await assert.rejects(signIn(fixture, anna, passwordOf('anna')), withCode('not-authenticated', /used up/));
  await fixture.access.deleteTfa(ROOT, anna, 'recovery');
  assert.equal((await signIn(fixture, anna, passwordOf('anna'))).needsSecondFactor, false);
});

test('an answer that is neither is refused', async (t) => {
  const { answer, code } = await enrolled(t);
  for (const text of ['', totpSoon(code), `TOTP:${totpSoon(code)}`, 'totp:', 'webauthn:{}', `totp: ${totpSoon(code)}`])
    await assert.rejects(answer(text), REFUSED, text);
});

test('second factors are changed by people who know their password, and by administrators', async (t) => {
  const { fixture, anna, id, code } = await enrolled(t);
  const { access } = fixture;
  const bob = await addUser(fixture, 'bob');
  const uri = newTotpUri(anna);
  const totp = { uri, code: '000000', description: '' };
  const confirmation = passwordOf('anna');
  await assert.rejects(access.addTotp(as(anna), anna, { ...totp, confirmation }), withCode('bad-argument', /clock/));
  await assert.rejects(access.addTotp(as(anna), anna, totp), withCode('bad-argument', /current password/));
  await assert.rejects(access.deleteTfa(as(anna), anna, id, 'wrong'), withCode('not-authenticated'));
  await assert.rejects(access.deleteTfa(as(bob), anna, id, passwordOf('bob')), withCode('permission-denied'));
  const token = access.createToken(as(anna), anna, 'ci').tokenid;
  await assert.rejects(access.deleteTfa(as(token), anna, id, confirmation), withCode('permission-denied'));
  await assert.rejects(access.addRecovery(as(token), anna, confirmation), withCode('permission-denied'));
  await access.addRecovery(as(anna), anna, confirmation);
  await assert.rejects(access.addRecovery(as(anna), anna, confirmation), withCode('exists'));
  assert.throws(() => access.tfaOf(as(bob), anna), withCode('permission-denied'));
  assert.deepEqual(access.listTfa(as(bob)), []);
  assert.deepEqual(
    access.listTfa(ROOT).map(({ userid, entries }) => [userid, entries.map(({ type }) => type).sort()]),
    [[anna, ['recovery', 'totp']]],
  );
  await access.updateTfa(as(anna), anna, id, { description: 'old phone', enable: false, confirmation });
  fixture.clock.passSeconds(1000);
  const { ticket } = await signIn(fixture, anna, passwordOf('anna'));
  assert.ok(ticket.includes('"totp"%3Afalse'));
  await assert.rejects(signIn(fixture, anna, `totp:${code()}`, ticket), REFUSED, 'switched off');
  await access.deleteTfa(as(anna), anna, id, confirmation);
  await assert.rejects(access.deleteTfa(as(anna), anna, id, confirmation), withCode('not-found'));
  assert.deepEqual(
    access.tfaOf(as(anna), anna).entries.map((entry) => entry.id),
    ['recovery'],
  );
});
