// Stores that earlier builds wrote stay readable, by our reader and by the second one: the format does not change in silence.
//
// When this fails, the format has changed, and the change is the bug: format 1 is frozen. What is new gets a new kind, version or feature
// name, docs/format.md says so first, test/support/second-reader.mjs follows it, and a new golden store is added beside the others:
//   npm run build && node scripts/make-golden-store.mjs golden-store-2
// No golden store is ever replaced. `golden-store` is from before encryption and file trees and names `draft-1`.
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { manifestDigest } from '../../src/datastore/snapshots/manifest-digest.ts';
import type { Manifest } from '../../src/schema/manifest.ts';
import { ERROR_CODES, type ErrorCode } from '../../src/util/errors.ts';
import { isRoot } from '../cli/holdfast.ts';
import {
  assertTree,
  type Expectation,
  expectations,
  expectedOf,
  Golden,
  listedOf,
  type Ran,
  sha256,
} from '../support/golden-store.ts';

for (const name of ['golden-store', 'golden-store-1']) {
  suite(name, () => {
    let golden: Golden;
    before(() => {
      golden = new Golden(name);
    });
    after(() => rmSync(golden.work, { recursive: true, force: true }));

    // The second reader comes first: it sees the store as it was written, before anything of ours has opened it.
    for (const reader of ['the second reader', 'holdfast']) {
      for (const wanted of expectations(name)) {
        const { ns, snapshot, archive, entries } = wanted;
        const skip = entries !== undefined && !isRoot && 'owners, devices and unreadable files need root';
        test(`${reader} restores ${ns === '' ? '' : `${ns}: `}${snapshot} ${archive}`, { skip }, async () => {
          const ran = golden.restore(reader, wanted);
          assert.equal(ran.status, 0, ran.stderr);
          if (entries !== undefined) {
            assertTree(golden.target, entries, { all: reader === 'holdfast', xattrs: golden.keepsXattrs() });
          } else {
            assert.equal(statSync(golden.target).size, wanted.sizeBytes);
            assert.equal(await sha256(golden.target), wanted.sha256);
          }
          rmSync(golden.target, { recursive: true });
        });
      }
    }

    test('cut points and ids are what they were: the same image again has no new data', () => {
      for (const group of name === 'golden-store' ? ['vm/101'] : ['vm/101', 'vm/102']) {
        const key = group === 'vm/102' ? ['--keyfile', golden.key, '--acknowledge-lost-key'] : [];
        const image = join(golden.work, 'disk0.img');
        golden.json('restore', `${group}/latest`, 'disk0.img', image, ...key.slice(0, 2), '--overwrite');
        const said = golden.json<Record<string, number>>('backup', '--group', group, `disk0.img:${image}`, ...key);
        assert.equal(said.objectsNew, 0);
        assert.ok((said.objectsReused ?? 0) > 0);
      }
    });

    test('all of it is sound to a verification', () => {
      golden.json('datastore', 'verify');
    });
  });
}

suite('golden-store-1: what only it has', () => {
  const archives = expectations('golden-store-1');
  const find = (archive: string, encrypted: boolean) =>
    archives.find((one) => one.archive === archive && one.encrypted === encrypted) as Expectation;
  let golden: Golden;
  before(() => {
    golden = new Golden('golden-store-1');
  });
  after(() => rmSync(golden.work, { recursive: true, force: true }));

  const failsWith = (ran: Ran, code: ErrorCode) => {
    assert.equal(ran.status, ERROR_CODES[code][1], ran.stderr);
    assert.match(ran.stderr, new RegExp(code));
  };

  test('a new store of the format names no features', () => {
    const { features } = JSON.parse(readFileSync(join(golden.store, 'datastore.json'), 'utf8'));
    assert.deepEqual(features, { compatible: [], readOnlyCompatible: [], incompatible: [] });
  });

  for (const tree of archives.filter(({ entries }) => entries !== undefined)) {
    test(`the entries of ${tree.snapshot} ${tree.archive} are listed with all that is known of them`, () => {
      const listed = golden.list(tree);
      assert.deepEqual(listed.map(listedOf), tree.entries?.map(expectedOf));
    });
  }

  for (const encrypted of [false, true]) {
    test(`${encrypted ? 'encrypted' : 'plain'}: every form of content, parts, attributes and marks`, () => {
      const listed = new Map(golden.list(find('root.tree', encrypted)).map((entry) => [entry.path, entry]));
      const forms = {
        inline: 'inline',
        empty: 'none',
        sparse: 'pieces',
        list: 'list',
        'empty.d': 'directory',
        mnt: 'none',
      };
      for (const [path, content] of Object.entries(forms)) assert.equal(listed.get(path)?.content, content, path);
      assert.equal(listed.get('many')?.parts, 2);
      assert.equal(listed.get('empty.d')?.attributes, 0x40);
      assert.equal(listed.get('mnt')?.marks, 2);
    });
  }

  test('the same tree again, all of it read, has new directories and no new contents', {
    skip: !isRoot && 'as above',
  }, () => {
    for (const encrypted of [false, true]) {
      const tree = find('root.tree', encrypted);
      const key = encrypted ? ['--keyfile', golden.key] : [];
      const ran = golden.restore('holdfast', tree);
      assert.equal(ran.status, 0, ran.stderr);
      const group = tree.snapshot.slice(0, tree.snapshot.lastIndexOf('/'));
      const words = ['backup', '--group', group, '--change-detection', 'data', `root.tree:${golden.target}`, ...key];
      const said = golden.json<Record<string, number>>(...words);
      // Inodes and change times are new, so each directory that is not empty is a new object; `many` has two parts, and a root is above all.
      const entries = tree.entries ?? [];
      const isParent = ({ path }: { path: string }) =>
        entries.some((other) => other.path !== path && other.path.startsWith(path === '' ? '' : `${path}/`));
      assert.equal(said.objectsNew, entries.filter(isParent).length + 2 + 1);
      assert.ok((said.objectsReused ?? 0) > 0);
      rmSync(golden.target, { recursive: true });
    }
  });

  test('without the key, or with another, nothing encrypted is read', () => {
    const other = join(golden.work, 'other');
    golden.json('key', 'create', other, '--kdf', 'none');
    for (const archive of ['disk0.img', 'root.tree', 'vm.conf']) {
      const wanted = find(archive, true);
      failsWith(golden.restore('holdfast', wanted, []), 'key-missing');
      failsWith(golden.restore('holdfast', wanted, ['--keyfile', other]), 'key-wrong');
      for (const [key, message] of [
        [[], /no --keyfile was given/] as const,
        [['--keyfile', other], /encrypted with the key .* not with/] as const,
      ]) {
        const ran = golden.restore('the second reader', wanted, [...key]);
        assert.equal(ran.status, 1);
        assert.match(ran.stderr, message);
      }
    }
  });

  test('the second reader opens a key file with its passphrase alone', () => {
    const locked = join(golden.work, 'locked');
    copyFileSync(golden.key, locked);
    const changed = golden.holdfast(['key', 'change-passphrase', locked], {
      HOLDFAST_NEW_KEY_PASSPHRASE: 'Grüße aus Weimar',
    });
    assert.equal(changed.status, 0, changed.stderr);
    const { snapshot } = find('vm.conf', true);
    const args = ['--keyfile', locked, golden.store, snapshot, 'vm.conf', golden.target];
    const wrong = golden.secondReader(args, { HOLDFAST_KEY_PASSPHRASE: 'grüße aus Weimar' });
    assert.equal(wrong.status, 1);
    assert.match(wrong.stderr, /the passphrase is wrong/);
    // The same text in another normal form.
    const right = golden.secondReader(args, { HOLDFAST_KEY_PASSPHRASE: 'Grüße aus Weimar'.normalize('NFD') });
    assert.equal(right.status, 0, right.stderr);
    rmSync(golden.target);
  });

  test('both readers refuse a manifest that somebody without the key changed, and a key file likewise', () => {
    const wanted = find('vm.conf', true);
    const path = join(golden.store, 'snapshots', wanted.snapshot, 'manifest.json');
    const original = readFileSync(path, 'utf8');
    const manifest = JSON.parse(original) as Manifest;
    const client = { ...manifest.client, clientTime: '2026-01-01T00:00:01.000Z' };
    writeFileSync(path, JSON.stringify({ ...manifest, client, digest: manifestDigest(client, manifest.server) }));
    failsWith(golden.restore('holdfast', wanted), 'manifest-altered');
    assert.match(golden.restore('the second reader', wanted).stderr, /the signature of the manifest does not hold/);
    writeFileSync(path, original);
    const altered = join(golden.work, 'altered');
    writeFileSync(altered, JSON.stringify({ ...JSON.parse(readFileSync(golden.key, 'utf8')), hint: 'another' }));
    failsWith(golden.restore('holdfast', wanted, ['--keyfile', altered]), 'key-damaged');
    assert.match(golden.restore('the second reader', wanted, ['--keyfile', altered]).stderr, /its seal does not hold/);
  });

  test('notes, protection and a retention lock are still there', () => {
    const [first, locked] = ['vm/101/2026-01-01T00:00:00Z', 'vm/102/2026-01-02T00:00:00Z'];
    const rows = golden.json<{ snapshot: string; protected: boolean; notes: string; lockRemainingMs: number | null }[]>(
      'snapshot',
      'list',
    );
    const row = (snapshot: string) => rows.find((one) => one.snapshot === snapshot);
    assert.equal(row(first)?.notes, 'the first: Grüße');
    assert.equal(row(first)?.protected, true);
    assert.ok((row(locked)?.lockRemainingMs ?? 0) > 0);
    failsWith(golden.holdfast(['snapshot', 'forget', first]), 'protected');
    failsWith(golden.holdfast(['snapshot', 'forget', locked]), 'retention-locked');
  });
});
