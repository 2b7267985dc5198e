// Signatures of manifests, and what a client remembers: what was changed, swapped or replayed is found.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { trustedBases } from '../../../src/agent/backup/trusted-bases.ts';
import { clientStateDirectory, LastSnapshots, olderThanRemembered } from '../../../src/agent/keys/last-snapshots.ts';
import {
  implausibleLabel,
  LABEL_TOLERANCE_SECONDS,
  requireSigned,
  signClientPart,
} from '../../../src/agent/keys/manifest-signature.ts';
import { deriveDataKey } from '../../../src/chunker/data-key.ts';
import type { ClientPart, Manifest } from '../../../src/schema/manifest.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

const key = deriveDataKey(Buffer.alloc(32, 7));
const other = deriveDataKey(Buffer.alloc(32, 8));
/** Computed from the words of docs/format.md alone. */
const SIGNATURE = '0ff96ee23ca60d1d106682040ba4ccadb69eb109cc81b01b570c9f0127c52316';
const TIME = Date.UTC(2026, 10, 20, 2) / 1000;

function unsigned(hours = 0): ClientPart {
  return {
    backup: 'vm/101',
    clientTime: new Date((TIME + hours * 3600) * 1000).toISOString(),
    archives: [{ name: 'a.conf', kind: 'blob', sizeBytes: 5, root: 'a'.repeat(64) }],
    base: { snapshot: 'vm/101/2026-11-19T02:00:00Z', sequence: 3 },
    key: key.fingerprint,
    recovery: { fingerprint: 'b'.repeat(64), wrappedKey: 'AAAA' },
    statistics: {
      bytesLogical: 5,
      bytesRead: 5,
      bytesSampled: 0,
      bytesNew: 5,
      objectsNew: 1,
      objectsReused: 0,
      durationMs: 9,
    },
  };
}

function manifestOf(client: ClientPart, time = Date.parse(client.clientTime) / 1000): Manifest {
  return { format: 1, client, server: { sequence: 4, time, space: 1 }, digest: '' } as unknown as Manifest;
}

const codeOf = (run: () => unknown): string | undefined => {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof HoldfastError) return error.code;
    throw error;
  }
};

test('what was signed is taken, with its key and as its group alone', () => {
  const manifest = manifestOf(signClientPart(unsigned(), key));
  assert.equal(
    codeOf(() => requireSigned(manifest, 'vm/101', key)),
    undefined,
  );
  assert.equal(
    codeOf(() => requireSigned(manifest, 'vm/102', key)),
    'manifest-altered',
  );
  assert.equal(
    codeOf(() => requireSigned(manifest, 'vm/101', undefined)),
    'key-missing',
  );
  assert.equal(
    codeOf(() => requireSigned(manifest, 'vm/101', other)),
    'key-wrong',
  );
  const forged = signClientPart(unsigned(), other);
  assert.equal(
    codeOf(() => requireSigned(manifestOf(forged), 'vm/101', key)),
    'manifest-altered',
  );
  assert.equal(
    codeOf(() => requireSigned(manifestOf(unsigned()), 'vm/101', key)),
    'manifest-altered',
  );
});

test('the signature is the documented one', () => {
  const { signature } = signClientPart(unsigned(), key);
  assert.equal(signature, SIGNATURE);
});

test('every member is bound, and one that nobody here knows too', () => {
  const signed = signClientPart(unsigned(), key);
  const [archive] = signed.archives;
  const changes: Partial<Record<string, unknown>>[] = [
    { clientTime: '2026-11-21T02:00:00.000Z' },
    { archives: [] },
    { archives: [{ ...archive, root: 'b'.repeat(64) }] },
    { archives: [{ ...archive, sizeBytes: 6 }] },
    { archives: [{ ...archive, name: 'b.conf' }] },
    { base: null },
    { recovery: undefined },
    { statistics: { ...signed.statistics, bytesNew: 6 } },
    { askedTime: TIME },
    { later: 'unknown' },
    { signature: signed.signature?.replace(/^./, (digit) => (digit === '0' ? '1' : '0')) },
    { signature: '00' },
  ];
  for (const change of changes) {
    const manifest = manifestOf({ ...signed, ...change } as ClientPart, TIME);
    assert.equal(
      codeOf(() => requireSigned(manifest, 'vm/101', key)),
      'manifest-altered',
      JSON.stringify(change),
    );
  }
  const manifest = manifestOf(signClientPart({ ...unsigned(), later: 'unknown' } as ClientPart, key));
  assert.equal(
    codeOf(() => requireSigned(manifest, 'vm/101', key)),
    undefined,
  );
});

test('a plain snapshot needs no key and takes any', () => {
  const { recovery: _, ...plain } = { ...unsigned(), key: null };
  for (const each of [undefined, key])
    assert.equal(
      codeOf(() => requireSigned(manifestOf(plain), 'vm/101', each)),
      undefined,
    );
});

test('a label is that of the time which the client signed, or of the label that it asked for', () => {
  const client = signClientPart(unsigned(), key);
  assert.equal(implausibleLabel(manifestOf(client, TIME + LABEL_TOLERANCE_SECONDS)), undefined);
  assert.match(
    implausibleLabel(manifestOf(client, TIME + LABEL_TOLERANCE_SECONDS + 1)) ?? '',
    /made by its client at 2026-11-20T02:00/,
  );
  assert.ok(implausibleLabel(manifestOf(client, TIME - LABEL_TOLERANCE_SECONDS - 1)));
  const asked = signClientPart({ ...unsigned(), askedTime: 1000 }, key);
  assert.equal(implausibleLabel(manifestOf(asked, 1001)), undefined);
  assert.match(implausibleLabel(manifestOf(asked, TIME)) ?? '', /with the label 1970-01-01T00:16:40Z/);
});

test('a client remembers one snapshot a group, namespace, datastore and key, for itself alone', async (t) => {
  const state = mkdtempSync(join(tmpdir(), 'hft-state-'));
  t.after(() => rmSync(state, { recursive: true }));
  const memory = new LastSnapshots(state);
  const of = { store: 's', ns: '', group: 'vm/101', key: key.fingerprint };
  const manifest = manifestOf(signClientPart(unsigned(), key));
  assert.equal(await memory.last(of), undefined);
  await memory.remember(of, manifest);
  for (const change of [{ store: 'z' }, { ns: 'a' }, { group: 'vm/102' }, { key: other.fingerprint }])
    assert.equal(await memory.last({ ...of, ...change }), undefined);
  const last = await memory.last(of);
  assert.deepEqual(last?.roots, ['a'.repeat(64)]);
  assert.equal(last?.signature, manifest.client.signature);
  const many = Array.from({ length: 8 }, (_, at) => manifestOf(signClientPart(unsigned(at), key)));
  await Promise.all(many.map((each, at) => memory.remember({ ...of, group: `vm/${at % 2}` }, each)));
  assert.ok(await memory.last({ ...of, group: 'vm/0' }));
  assert.ok(await memory.last({ ...of, group: 'vm/1' }));
  const files = readdirSync(join(state, 'last-snapshots'));
  assert.equal(files.length, 3);
  assert.equal(statSync(join(state, 'last-snapshots')).mode & 0o777, 0o700);
  for (const file of files) writeFileSync(join(state, 'last-snapshots', file), '{}');
  await assert.rejects(memory.last(of), { code: 'key-damaged' });
});

test('an older snapshot is told from the same, a newer and an unknown one', async (t) => {
  const state = mkdtempSync(join(tmpdir(), 'hft-state-'));
  t.after(() => rmSync(state, { recursive: true }));
  const memory = new LastSnapshots(state);
  const of = { store: 's', ns: '', group: 'vm/101', key: key.fingerprint };
  const made = manifestOf(signClientPart(unsigned(), key));
  await memory.remember(of, made);
  const last = await memory.last(of);
  assert.equal(olderThanRemembered(made, last), undefined);
  assert.equal(olderThanRemembered(manifestOf(signClientPart(unsigned(1), key)), last), undefined);
  const older = manifestOf(signClientPart(unsigned(-1), key));
  assert.equal(olderThanRemembered(older, undefined), undefined);
  assert.match(
    olderThanRemembered(older, last) ?? '',
    /vm\/101\/2026-11-20T01:00:00Z.*but this client made vm\/101\/2026-11-20T02:00:00Z/,
  );
  const same = manifestOf(signClientPart({ ...unsigned(), base: null }, key));
  assert.ok(olderThanRemembered(same, last), 'another one of the same moment is not newer');
  for (const plain of [unsigned(1), made.client])
    assert.match(olderThanRemembered(manifestOf({ ...plain, key: null }), last) ?? '', /not encrypted/);
});

test('a backup builds on what its own key signed and what has its own label', () => {
  const base = (client: ClientPart, time?: number, sequence = 4) => ({
    name: `base ${sequence}`,
    sequence,
    archives: client.archives,
    manifest: manifestOf(client, time),
    damaged: [],
  });
  const warnings: string[] = [];
  const trust = { group: 'vm/101', key, warn: (text: string) => void warnings.push(text) };
  const kept = (bases: Parameters<typeof trustedBases>[0], more = {}) =>
    trustedBases(bases, { ...trust, ...more }).map(({ sequence }) => sequence);
  const good = base(signClientPart(unsigned(), key));
  assert.deepEqual(kept([good]), [4]);
  assert.deepEqual(warnings, []);
  const bad = [
    base(signClientPart(unsigned(), other), undefined, 1),
    base(unsigned(), undefined, 2),
    base({ ...unsigned(), key: null }, undefined, 3),
    base(signClientPart({ ...unsigned(), backup: 'vm/102' }, key), undefined, 5),
    base(signClientPart(unsigned(-24), key), TIME, 6),
  ];
  assert.deepEqual(kept([...bad, good]), [4]);
  assert.equal(warnings.length, bad.length);
  assert.deepEqual(kept([good], { key: undefined }), [], 'a plain backup builds on plain ones');
  assert.deepEqual(kept([base({ ...unsigned(), key: null })], { key: undefined }), [4]);

  const last = { format: 1 as const, store: 's', ns: '', group: 'vm/101', key: key.fingerprint, roots: [] };
  const newer = { ...last, time: TIME + 3600, clientTime: unsigned(1).clientTime, signature: 'c'.repeat(64) };
  warnings.length = 0;
  assert.deepEqual(kept([good], { last: newer }), [4]);
  assert.match(warnings.join(), /but this client made/);
  const sameLabel = { ...last, time: TIME, clientTime: unsigned(-1).clientTime, signature: 'c'.repeat(64) };
  assert.deepEqual(kept([good], { last: sameLabel }), []);
});

test('where a client keeps its state', () => {
  assert.equal(clientStateDirectory({ HOLDFAST_STATE_DIR: '/x', XDG_STATE_HOME: '/y' }, 0), '/x');
  assert.equal(clientStateDirectory({ XDG_STATE_HOME: '/y' }, 0), '/var/lib/holdfast/client');
  assert.equal(clientStateDirectory({ XDG_STATE_HOME: '/y' }, 1000), '/y/holdfast');
  assert.match(clientStateDirectory({}, 1000), /\/\.local\/state\/holdfast$/);
});
