// Secrets and fingerprints: which of the places counts, and what is refused.
import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseFingerprint, showFingerprint } from '../../../src/transport/client/fingerprint.ts';
import { findAccess, remotesPath } from '../../../src/transport/client/remotes.ts';
import { parseRepositoryAddress } from '../../../src/transport/client/repository-address.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { scratch } from '../../agent/nbd/servers.ts';

const BY_TOKEN = 'https://root@pam!ci@h/tank';
const DIGITS = 'ab'.repeat(32);
const NONE = { fingerprint: undefined };

function remotes(t: TestContext, content: unknown, mode = 0o600): { HOLDFAST_REMOTES: string } {
  const path = join(scratch(t), 'remotes.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  chmodSync(path, mode);
  return { HOLDFAST_REMOTES: path };
}

const refused = (why: RegExp) => (error: unknown) =>
  error instanceof HoldfastError && error.code === 'bad-argument' && why.test(error.message);

test('the environment goes before a file, and both before remotes.json', async (t) => {
  const env = remotes(t, { [BY_TOKEN]: { tokenSecret: 'from remotes', fingerprint: DIGITS } });
  const file = join(scratch(t), 'secret');
  writeFileSync(file, 'from file\nsecond line\n');
  const address = parseRepositoryAddress(BY_TOKEN);
  const find = (more: NodeJS.ProcessEnv) => findAccess(address, NONE, { ...env, ...more });
  assert.deepEqual(await find({}), { secret: 'from remotes', fingerprint: DIGITS });
  assert.equal((await find({ HOLDFAST_TOKEN_SECRET_FILE: file })).secret, 'from file');
  const both = { HOLDFAST_TOKEN_SECRET_FILE: file, HOLDFAST_TOKEN_SECRET: 'direct', HOLDFAST_PASSWORD: 'no' };
  assert.equal((await find(both)).secret, 'direct');
});

test('a login takes the password, and not the secret of a token', async (t) => {
  const address = parseRepositoryAddress('https://root@pam@h/tank');
  const env = { ...remotes(t, {}), HOLDFAST_TOKEN_SECRET: 'no' };
  await assert.rejects(() => findAccess(address, NONE, env), refused(/HOLDFAST_PASSWORD/));
  assert.equal((await findAccess(address, NONE, { ...env, HOLDFAST_PASSWORD: 'yes' })).secret, 'yes');
});

test('the option goes before the environment, and that before the file', async (t) => {
  const env = { ...remotes(t, { [BY_TOKEN]: { fingerprint: 'cd'.repeat(32) } }), HOLDFAST_TOKEN_SECRET: 'x' };
  const address = parseRepositoryAddress(BY_TOKEN);
  assert.equal((await findAccess(address, NONE, env)).fingerprint, 'cd'.repeat(32));
  const more = { ...env, HOLDFAST_FINGERPRINT: 'ef'.repeat(32) };
  assert.equal((await findAccess(address, NONE, more)).fingerprint, 'ef'.repeat(32));
  assert.equal((await findAccess(address, { fingerprint: DIGITS }, more)).fingerprint, DIGITS);
});

test('a file that others may read, or that is wrong, is refused with what to do', async (t) => {
  const address = parseRepositoryAddress(BY_TOKEN);
  for (const mode of [0o640, 0o604])
    await assert.rejects(() => findAccess(address, NONE, remotes(t, {}, mode)), refused(/chmod 600/));
  for (const content of ['{', '[]', { [BY_TOKEN]: { secret: 'x' } }, { [BY_TOKEN]: { password: 7 } }])
    await assert.rejects(() => findAccess(address, NONE, remotes(t, content)), refused(/is wrong/));
  const env = { HOLDFAST_REMOTES: '/nowhere/at/all', HOLDFAST_TOKEN_SECRET_FILE: '/nowhere/secret' };
  await assert.rejects(() => findAccess(address, NONE, env), refused(/TOKEN_SECRET_FILE cannot be read/));
});

test('where remotes.json is', () => {
  assert.equal(remotesPath({ XDG_CONFIG_HOME: '/x' }), '/x/holdfast/remotes.json');
  assert.match(remotesPath({}), /\/\.config\/holdfast\/remotes\.json$/);
});

test('fingerprints are read with and without colons', () => {
  assert.equal(parseFingerprint(showFingerprint(DIGITS).toUpperCase()), DIGITS);
  assert.equal(parseFingerprint(`${DIGITS}\n`), DIGITS);
  for (const text of ['', 'ab', `${DIGITS}00`, 'zz'.repeat(32)])
    assert.throws(() => parseFingerprint(text), refused(/fingerprint/));
});
