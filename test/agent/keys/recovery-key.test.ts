// The recovery key: what it wraps it opens, as OpenSSL does too, and nothing else does.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  createRecoveryPair,
  isProtectedPem,
  openRecoveryPrivate,
  parseRecoveryPublic,
  recoverDataKey,
  wrapForRecovery,
} from '../../../src/agent/keys/recovery-key.ts';
import { deriveDataKey } from '../../../src/chunker/data-key.ts';
import type { ClientPart } from '../../../src/schema/manifest.ts';

const key = deriveDataKey(Buffer.alloc(32, 7));
const pair = await createRecoveryPair('in the safe');
const other = generateKeyPairSync('rsa', { modulusLength: 3072 });
const pem = (each: { export(options: object): unknown }, type: string) =>
  each.export({ type, format: 'pem' }) as string;
const clientOf = (change: Partial<ClientPart>): ClientPart =>
  ({ backup: 'vm/101', key: key.fingerprint, ...change }) as ClientPart;

test('a pair opens what it wrapped', () => {
  const recovery = wrapForRecovery(pair.publicPem, key);
  assert.equal(recovery.fingerprint, parseRecoveryPublic('p', pair.publicPem).fingerprint);
  assert.notEqual(wrapForRecovery(pair.publicPem, key).wrappedKey, recovery.wrappedKey);
  assert.ok(isProtectedPem(pair.privatePem));
  const opened = openRecoveryPrivate('p', pair.privatePem, 'in the safe');
  assert.equal(opened.asymmetricKeyDetails?.modulusLength, 4096);
  assert.deepEqual(recoverDataKey('x', clientOf({ recovery }), opened), key);
});

test('OpenSSL alone gets the secret back, as the manual says', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'hft-rsa-'));
  t.after(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, 'w'), Buffer.from(wrapForRecovery(pair.publicPem, key).wrappedKey, 'base64'));
  writeFileSync(join(directory, 'p'), pair.privatePem);
  const options = ['rsa_padding_mode:oaep', 'rsa_oaep_md:sha256'].flatMap((each) => ['-pkeyopt', each]);
  const args = ['pkeyutl', '-decrypt', '-inkey', 'p', '-passin', 'pass:in the safe', ...options, '-in', 'w'];
  assert.deepEqual(execFileSync('openssl', args, { cwd: directory }), Buffer.from(key.secret));
});

test('another key, none, or a changed manifest is refused', () => {
  const opened = openRecoveryPrivate('p', pair.privatePem, 'in the safe');
  const recovery = wrapForRecovery(pair.publicPem, key);
  const foreign = wrapForRecovery(pem(other.publicKey, 'spki'), key);
  const refused = (change: Partial<ClientPart>, code: string) =>
    assert.throws(() => recoverDataKey('x', clientOf(change), opened), { code });
  refused({ key: null }, 'not-found');
  refused({}, 'not-found');
  refused({ recovery: foreign }, 'key-wrong');
  refused({ recovery: { ...recovery, wrappedKey: foreign.wrappedKey } }, 'manifest-altered');
  refused({ recovery: wrapForRecovery(pair.publicPem, deriveDataKey(Buffer.alloc(32, 9))) }, 'manifest-altered');
});

test('keys are what they must be', () => {
  assert.throws(() => openRecoveryPrivate('p', pair.privatePem, 'wrong'), { code: 'passphrase-wrong' });
  assert.throws(() => openRecoveryPrivate('p', 'nothing', undefined), { code: 'key-damaged' });
  assert.throws(() => parseRecoveryPublic('p', 'nothing'), { code: 'key-damaged' });
  assert.throws(() => parseRecoveryPublic('p', pair.privatePem), { code: 'key-damaged', message: /private key/ });
  const weak = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const curve = generateKeyPairSync('ed25519');
  for (const { publicKey, privateKey } of [weak, curve]) {
    assert.throws(() => parseRecoveryPublic('p', pem(publicKey, 'spki')), { code: 'key-damaged', message: /3072/ });
    assert.throws(() => openRecoveryPrivate('p', pem(privateKey, 'pkcs8'), undefined), { code: 'key-damaged' });
  }
  const unprotected = pem(other.privateKey, 'pkcs8');
  assert.ok(!isProtectedPem(unprotected));
  assert.equal(openRecoveryPrivate('p', unprotected, undefined).type, 'private');
  assert.equal(parseRecoveryPublic('p', pem(other.publicKey, 'pkcs1')).pem, pem(other.publicKey, 'spki'));
});
