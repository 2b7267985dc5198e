import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  parseAuthId,
  parseTokenName,
  parseUserId,
  realmOf,
  tokenIdOf,
  tokenNameOf,
  userOf,
} from '../../src/schema/auth-id.ts';
import { HoldfastError } from '../../src/util/errors.ts';

function isBadName(error: unknown): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: this is what must not be in there.
  return error instanceof HoldfastError && error.code === 'bad-name' && !/[\x00-\x1f\u202e]/.test(error.message);
}

test('users and tokens are told apart', () => {
  const user = parseAuthId('anna@local');
  assert.equal(userOf(user), 'anna@local');
  assert.equal(tokenNameOf(user), undefined);
  const token = parseAuthId('anna@local!laptop-1');
  assert.equal(userOf(token), 'anna@local');
  assert.equal(tokenNameOf(token), 'laptop-1');
  assert.equal(realmOf(token), 'local');
  assert.equal(tokenIdOf(parseUserId('anna@local'), 'laptop-1'), token);
});

test('the last @ ends the name, so that names may have @ and !', () => {
  assert.equal(realmOf(parseUserId('anna@example.org@local')), 'local');
  const strange = parseAuthId('a@local!b@pam');
  assert.equal(userOf(strange), 'a@local!b@pam');
  assert.equal(tokenNameOf(strange), undefined);
  assert.equal(tokenNameOf(parseAuthId('what!now@local!t')), 't');
});

test('what is no user id is refused, and never printed raw', () => {
  const bad = [
    '',
    'anna',
    '@local',
    'anna@',
    'an na@local',
    'an:na@local',
    'an/na@local',
    'anna@lo cal',
    'anna@local!',
  ];
  bad.push('!tfa!x@local', 'an\nna@local', 'an\u0000na@local', 'an\u202ena@local', 'anna@-local', 'anna@local!-x');
  bad.push('anna@local!a!b', `${'a'.repeat(59)}@local`, 'a\u0301@local', '\ud800@local', 'anna@local\n');
  for (const text of bad) {
    assert.throws(() => parseAuthId(text), isBadName, JSON.stringify(text));
    assert.throws(() => parseUserId(text), isBadName, JSON.stringify(text));
  }
  assert.throws(() => parseUserId('anna@local!token'), isBadName);
  assert.equal(parseUserId(`${'a'.repeat(58)}@local`).length, 64);
  assert.throws(() => parseTokenName('a'.repeat(65)), isBadName);
});

test('whatever is accepted can be split and put together again, and cannot be split at : or /', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.tuple(fc.string({ maxLength: 20 }), fc.string({ maxLength: 8 })).map(([name, realm]) => `${name}@${realm}`),
    fc.stringMatching(/^[a-c@!:/]{1,12}$/).map((name) => `${name}@local!t`),
  );
  let accepted = 0;
  fc.assert(
    fc.property(text, (candidate) => {
      let authId: ReturnType<typeof parseAuthId>;
      try {
        authId = parseAuthId(candidate);
      } catch (error) {
        assert.ok(isBadName(error));
        return;
      }
      accepted++;
      const name = tokenNameOf(authId);
      const user = parseUserId(userOf(authId));
      assert.equal(name === undefined ? user : tokenIdOf(user, name), candidate);
      assert.doesNotMatch(candidate, /[\s:/]/);
    }),
    { numRuns: 3000 },
  );
  assert.ok(accepted > 100, `${accepted} were accepted`);
});
