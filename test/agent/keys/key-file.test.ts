// Key files: what they open with, what they refuse, and that no change of one goes unseen.
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  changeKeyFile,
  encodeKeyFile,
  newDataKey,
  openKeyFile,
  parseKeyFile,
} from '../../../src/agent/keys/key-file.ts';
import { createPrivateFile, replacePrivateFile } from '../../../src/agent/keys/private-file.ts';
import { deriveDataKey } from '../../../src/chunker/data-key.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

const CHEAP = { n: 2 ** 10, r: 8, p: 1 };
const FIELDS = {
  hint: 'animals',
  recovery: null,
  acknowledged: null,
  created: '2026-11-20T00:00:00.000Z',
  modified: '2026-11-20T00:00:00.000Z',
};
const PASSPHRASE = 'correct horse battery staple';
const key = deriveDataKey(Buffer.alloc(32, 7));
const vectors = new URL('../../vectors/', import.meta.url);

const typed = (text: string) => async () => text;
const fails = async (code: string, run: () => unknown, message = /./) =>
  await assert.rejects(
    async () => await run(),
    (error) => error instanceof HoldfastError && error.code === code && message.test(error.message),
  );
const open = async (text: string, passphrase = PASSPHRASE) =>
  await openKeyFile('k', parseKeyFile('k', text), typed(passphrase));

test('what is written opens again, with the passphrase and with no other', async () => {
  const text = await encodeKeyFile(key, PASSPHRASE, FIELDS, CHEAP);
  assert.deepEqual(await open(text), key);
  assert.ok(!text.includes(Buffer.from(key.secret).toString('base64')));
  await fails('passphrase-wrong', async () => await open(text, `${PASSPHRASE} `), /the key file k.*animals/);
  assert.notEqual(await encodeKeyFile(key, PASSPHRASE, FIELDS, CHEAP), text, 'salt and nonce are drawn anew');
});

test('a passphrase is the same however its letters are composed', async () => {
  const text = await encodeKeyFile(key, 'gr\u00fcn und sch\u00f6n', FIELDS, CHEAP);
  assert.deepEqual(await open(text, 'gru\u0308n und scho\u0308n'), key);
});

test('without a passphrase nobody is asked for one', async () => {
  const file = parseKeyFile('k', await encodeKeyFile(key, undefined, FIELDS));
  assert.equal(file.kdf, null);
  assert.deepEqual(await openKeyFile('k', file, () => assert.fail('asked')), key);
});

test('the golden key file opens as ever', async () => {
  const text = readFileSync(new URL('key-file.json', vectors), 'utf8');
  assert.deepEqual(await open(text), key);
  const { fingerprint, kdf } = parseKeyFile('k', text);
  assert.equal(fingerprint, key.fingerprint);
  assert.equal(kdf?.n, 2 ** 17, 'the cost that key files are made with');
});

test('every member but the hint of what it is refused when it was changed', async () => {
  const file = JSON.parse(await encodeKeyFile(key, PASSPHRASE, FIELDS, CHEAP));
  const other = newDataKey();
  const changes: Record<string, [unknown, string]> = {
    format: ['holdfast-key-2', 'key-damaged'],
    fingerprint: [other.fingerprint, 'passphrase-wrong'],
    created: ['2020-01-01T00:00:00.000Z', 'key-damaged'],
    modified: ['2020-01-01T00:00:00.000Z', 'key-damaged'],
    hint: ['other', 'key-damaged'],
    kdf: [null, 'key-damaged'],
    secret: [Buffer.alloc(60, 1).toString('base64'), 'passphrase-wrong'],
    recovery: ['-----BEGIN PUBLIC KEY-----', 'key-damaged'],
    acknowledged: ['2026-01-01T00:00:00.000Z', 'key-damaged'],
    seal: ['0'.repeat(64), 'key-damaged'],
  };
  assert.deepEqual(Object.keys(changes).sort(), Object.keys(file).sort());
  for (const [name, [value, code]] of Object.entries(changes))
    await fails(code, async () => await open(JSON.stringify({ ...file, [name]: value })));
});

test('a plain secret that is not of its fingerprint is refused', async () => {
  const file = JSON.parse(await encodeKeyFile(key, undefined, FIELDS));
  await fails(
    'key-damaged',
    async () => await open(JSON.stringify({ ...file, secret: Buffer.alloc(32, 8).toString('base64') })),
    /fingerprint/,
  );
});

test('what is no key file, or asks for all memory, is refused before any work', async () => {
  const file = JSON.parse(await encodeKeyFile(key, PASSPHRASE, FIELDS, CHEAP));
  const withCost = (cost: object) => JSON.stringify({ ...file, kdf: { ...file.kdf, ...cost } });
  for (const text of ['', '{}', 'not json', JSON.stringify({ ...file, secret: 'AAAA' })])
    await fails('key-damaged', () => parseKeyFile('k', text));
  for (const cost of [{ n: 1000 }, { n: 2 ** 21 }, { r: 2 ** 20 }, { p: 17 }, { salt: 'AAAA' }, { name: 'md5' }])
    await fails('key-damaged', () => parseKeyFile('k', withCost(cost)));
  parseKeyFile('k', withCost({ n: 2 ** 20 }));
});

test('fields change with the key at hand, and the secret stays', async () => {
  const file = parseKeyFile('k', await encodeKeyFile(key, PASSPHRASE, FIELDS, CHEAP));
  const text = changeKeyFile(key, file, { acknowledged: '2026-11-21T00:00:00.000Z' });
  assert.deepEqual(await open(text), key);
  assert.equal(parseKeyFile('k', text).acknowledged, '2026-11-21T00:00:00.000Z');
  assert.equal(parseKeyFile('k', text).secret, file.secret);
});

test('private files: mode 0600, never over another file, nothing left behind', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'hft-private-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'k');
  await createPrivateFile(path, 'one', 'key file');
  await fails('exists', async () => await createPrivateFile(path, 'two', 'key file'), /key file/);
  assert.equal(readFileSync(path, 'utf8'), 'one');
  chmodSync(path, 0o644);
  await replacePrivateFile(path, 'three', 'key file');
  assert.equal(readFileSync(path, 'utf8'), 'three');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  await fails('target-failed', async () => await createPrivateFile(join(directory, 'no', 'k'), 'x', 'key file'));
  writeFileSync(join(directory, 'file'), '');
  await fails('target-failed', async () => await replacePrivateFile(join(directory, 'file', 'k'), 'x', 'key file'));
  assert.deepEqual(readdirSync(directory).sort(), ['file', 'k']);
  assert.ok(!existsSync(join(directory, 'no')));
});
