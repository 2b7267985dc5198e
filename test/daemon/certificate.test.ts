// The server's certificate: what is in its own, that it is never replaced, and what is refused.
import assert from 'node:assert/strict';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { chmodSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ensureSelfSigned, expiryWarning, loadCertificate } from '../../src/daemon/certificate.ts';
import { hostNames } from '../../src/daemon/host-names.ts';
import { temporaryDirectory } from '../datastore/fixture.ts';

const NOW = Date.parse('2026-11-21T12:00:00Z');
const DAY_MS = 86_400_000;

function paths(t: TestContext) {
  const directory = temporaryDirectory(t);
  return { certificate: join(directory, 'server.crt'), key: join(directory, 'server.key') };
}

test('the own certificate names this machine, lasts, and is for servers alone', async (t) => {
  const at = paths(t);
  const { fingerprint, notAfterMs } = await ensureSelfSigned(at, ['vault', 'vault.example.org'], NOW);
  const leaf = new X509Certificate(readFileSync(at.certificate));
  assert.equal(
    leaf.subjectAltName,
    'DNS:localhost, DNS:vault, DNS:vault.example.org, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1',
  );
  assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1']);
  assert.equal(leaf.ca, false);
  assert.match(leaf.subject, /CN=vault\.example\.org/);
  assert.equal(
    createPublicKey(leaf.publicKey.export({ type: 'spki', format: 'pem' })).asymmetricKeyDetails?.namedCurve,
    'prime256v1',
  );
  assert.ok(leaf.verify(leaf.publicKey), 'it is signed by itself');
  assert.ok(notAfterMs - NOW > 10 * 365 * DAY_MS);
  assert.ok(Date.parse(leaf.validFrom) < NOW);
  assert.equal(fingerprint, leaf.fingerprint256.toLowerCase());
  assert.match(fingerprint, /^([0-9a-f]{2}:){31}[0-9a-f]{2}$/);
  assert.equal(statSync(at.key).mode & 0o777, 0o600);
});

test('it stays the same at every start; without its key it is not made anew behind the clients’ backs', async (t) => {
  const at = paths(t);
  const first = await ensureSelfSigned(at, ['vault'], NOW);
  assert.deepEqual(await ensureSelfSigned(at, ['other'], NOW + DAY_MS), first);
  rmSync(at.key);
  await assert.rejects(ensureSelfSigned(at, ['vault'], NOW), { code: 'bad-argument', message: /server\.key/ });
});

test('a key without a certificate is what a first start that was cut off leaves: both are made', async (t) => {
  const at = paths(t);
  writeFileSync(at.key, 'half a key');
  chmodSync(at.key, 0o644);
  await ensureSelfSigned(at, ['vault'], NOW);
  assert.equal(statSync(at.key).mode & 0o777, 0o600);
});

test('files that are no certificate, no key, or of two certificates are refused', async (t) => {
  const [one, two] = [paths(t), paths(t)];
  await ensureSelfSigned(one, ['one'], NOW);
  await ensureSelfSigned(two, ['two'], NOW);
  const refused = (certificate: string, key: string, message: RegExp) =>
    assert.rejects(loadCertificate({ certificate, key }), { code: 'bad-argument', message });
  await refused(one.certificate, two.key, /do not belong together/);
  await refused(one.key, one.key, /no PEM file/);
  await refused(one.certificate, one.certificate, /no PEM file/);
  await refused(`${one.certificate}.gone`, one.key, /cannot be read/);
});

test('an end that is near is warned of, and one that has passed', async (t) => {
  const certificate = await ensureSelfSigned(paths(t), ['one'], NOW);
  const { notAfterMs } = certificate;
  assert.equal(expiryWarning(certificate, NOW), undefined);
  assert.equal(expiryWarning(certificate, notAfterMs - 31 * DAY_MS), undefined);
  assert.match(expiryWarning(certificate, notAfterMs - 29 * DAY_MS) ?? '', /expires on 2056-/);
  assert.match(expiryWarning(certificate, notAfterMs) ?? '', /has expired/);
});

test('the machine has its name, and the full one where a domain is known', (t) => {
  const file = join(temporaryDirectory(t), 'resolv.conf');
  assert.deepEqual(hostNames('vault', file), ['vault']);
  writeFileSync(file, 'nameserver 10.0.0.1\nsearch example.org lan\n');
  assert.deepEqual(hostNames('vault', file), ['vault', 'vault.example.org']);
  assert.deepEqual(hostNames('vault.other.net', file), ['vault', 'vault.other.net']);
  writeFileSync(file, 'search not_a:domain\n');
  assert.deepEqual(hostNames('vault', file), ['vault']);
  assert.deepEqual(hostNames('bad name', file), ['localhost']);
});
