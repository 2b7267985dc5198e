import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readRoots } from '../../../src/datastore/snapshots/manifest-digest.ts';
import { encodeManifest, readManifest } from '../../../src/datastore/snapshots/manifest-file.ts';
import { referenceBlake3 } from '../../chunker/reference-blake3.ts';
import { temporaryDirectory } from '../fixture.ts';
import { clientPart, serverPart } from './manifests.ts';

test('a manifest is read as it was written, whatever the layout of its text', async (t) => {
  const path = join(temporaryDirectory(t), 'manifest.json');
  writeFileSync(path, encodeManifest(clientPart(), serverPart()));
  const manifest = readManifest(path);
  assert.deepEqual(manifest?.client, clientPart());
  assert.deepEqual(manifest?.server, serverPart());
  const reversed = (value: unknown): unknown =>
    value === null || typeof value !== 'object' || Array.isArray(value)
      ? value
      : Object.fromEntries(
          Object.entries(value)
            .reverse()
            .map(([name, member]) => [name, reversed(member)]),
        );
  writeFileSync(path, JSON.stringify(reversed(manifest), undefined, 7));
  assert.deepEqual(readManifest(path), manifest);
  assert.equal(readManifest(`${path}.other`), undefined);
});

test('the digest is what docs/format.md says', async (t) => {
  const path = join(temporaryDirectory(t), 'manifest.json');
  writeFileSync(path, encodeManifest(clientPart(), serverPart()));
  const canonical = [
    '{"client":{"archives":[{"kind":"blob","name":"a.conf","root":"ROOT","sizeBytes":3}],"backup":"vm/101","base":null,',
    '"clientTime":"2026-11-20T02:00:00Z","key":null,"statistics":{"bytesLogical":3,"bytesNew":3,"bytesRead":3,"bytesSampled":0,',
    '"durationMs":1,"objectsNew":1,"objectsReused":0}},"server":{"damaged":false,"notes":"ünïcode “notes”\u2028",',
    '"origin":{"sequence":1,"store":"STORE"},"owner":"root","protected":false,"sequence":1,"session":"SESSION","space":0,',
    '"suspectClock":false,"time":1790000000}}',
  ].join('');
  const text = canonical
    .replace('ROOT', 'ab'.repeat(32))
    .replace('STORE', '34'.repeat(16))
    .replace('SESSION', '12'.repeat(16));
  assert.equal(readManifest(path)?.digest, referenceBlake3(Buffer.from(text)).toString('hex'));
});

test('members of later versions are kept, and covered by the digest', async (t) => {
  const path = join(temporaryDirectory(t), 'manifest.json');
  writeFileSync(path, encodeManifest({ ...clientPart(), later: 1 } as never, serverPart()));
  const manifest = readManifest(path);
  assert.deepEqual(manifest?.client, { ...clientPart(), later: 1 });
  writeFileSync(path, readFileSync(path, 'utf8').replace('"later": 1', '"later": 2'));
  assert.throws(() => readManifest(path), { code: 'manifest-altered' });
});

test('edits by hand and damage are told, with what to do', async (t) => {
  const path = join(temporaryDirectory(t), 'manifest.json');
  const text = encodeManifest(clientPart(), serverPart());
  const edits = [
    text.replace('"protected": false', '"protected": true'),
    text.replace('a.conf', 'b.conf'),
    text.replace('"sizeBytes": 3', '"sizeBytes": 4'),
    text.replace('"root": "ab', '"root": "bb'),
    text.replace('“notes”', '"notes"'),
    text.replace(/"digest": "./, '"digest": "g'),
    text.replace('"format": 1', '"format": 2'),
    text.slice(0, text.length / 2),
    '',
    '[]',
    'null',
    '\0'.repeat(text.length),
  ];
  for (const edit of edits) {
    assert.notEqual(edit, text);
    writeFileSync(path, edit);
    assert.throws(
      () => readManifest(path),
      { code: 'manifest-altered', message: /replica/, data: { path } },
      edit.slice(0, 200),
    );
    // Threads go by the digest alone: the format is the main thread's business.
    if (!edit.includes('"format": 2')) assert.deepEqual(readRoots(path, 0), []);
  }
  writeFileSync(path, text);
  assert.deepEqual(readRoots(path, 0), ['ab'.repeat(32)]);
  assert.deepEqual(readRoots(path, 1), [], 'of another space');
  assert.deepEqual(readRoots(`${path}.gone`, 0), []);
  assert.throws(() => readRoots(temporaryDirectory(t), 0), { code: 'EISDIR' });
});
