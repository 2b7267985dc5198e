// How a thread finds the scope of a session: in slices, manifest by manifest, and what goes meanwhile stays in it.
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmdirSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { PLAIN_SPACE } from '../../../src/chunker/object.ts';
import { rootsOf } from '../../../src/datastore/gc/roots.ts';
import { IndexLocator } from '../../../src/datastore/object-source.ts';
import { SessionMarks } from '../../../src/datastore/sessions/session-marks.ts';
import {
  type SessionDescriptor,
  SessionSink,
  type SinkEnvironment,
} from '../../../src/datastore/sessions/session-sink.ts';
import { eachManifest, shareManifests } from '../../../src/datastore/sessions/shared-manifests.ts';
import { commitImage, createTemporaryStore, OpenStore } from '../../support/store.ts';

/** A sink over a store with a snapshot of each group, which is to find what all of them reach. */
async function rig(t: TestContext, groups: readonly string[]) {
  const { root, remove } = await createTemporaryStore();
  t.after(remove);
  const open = await OpenStore.open(root, 1);
  t.after(() => open.close());
  const { store } = open;
  const snapshots = [];
  for (const group of groups) {
    const made = await commitImage(open, [`of ${group}`], group);
    snapshots.push({ ...made, path: store.groups.manifestPath(made.name) });
  }
  const locator = new IndexLocator(store.index, store.packs, () => {});
  const descriptor: SessionDescriptor = {
    sessionId: '00'.repeat(16),
    space: PLAIN_SPACE,
    key: undefined,
    marks: new SessionMarks().buffers,
    scopeRoots: [],
    scopeManifests: shareManifests(
      snapshots.map(({ name }) => ({ groupPath: store.groups.groupPath(name.ns, name.group), times: [name.time] })),
    ),
    compressionLevel: 1,
    allowance: { root, lowSpaceBytes: 0, quotas: [], stored: new SharedArrayBuffer(8) },
    countsScopeOnly: true,
  };
  const sink = new SessionSink({ locator, source: store.source } as unknown as SinkEnvironment, descriptor);
  return { open, snapshots, sink };
}

test('other work goes on between one manifest and the next', async (t) => {
  const { snapshots, sink } = await rig(t, ['vm/1', 'vm/2', 'vm/3']);
  let slices = 1;
  while (!sink.prepare(0)) slices++;
  assert.ok(slices > snapshots.length, `${slices} slices`);
  assert.deepEqual(sink.have(snapshots.map(({ root }) => root)), [true, true, true]);
});

test('S3: a snapshot that is forgotten before its manifest was read stays in scope', async (t) => {
  const { open, snapshots, sink } = await rig(t, ['vm/1', 'vm/2']);
  assert.equal(sink.prepare(0), false);
  const [, second] = snapshots;
  sink.keepForgotten(rootsOf(second.manifest).map(({ id }) => Buffer.from(id).toString('hex')));
  await open.store.forget(second.name);
  assert.deepEqual(sink.have(snapshots.map(({ root }) => root)), [true, true]);
});

test('a manifest that cannot be read is an error each time, never a smaller scope', async (t) => {
  const { snapshots, sink } = await rig(t, ['vm/1', 'vm/2']);
  const [, { path, root }] = snapshots;
  renameSync(path, `${path}.away`);
  mkdirSync(path);
  for (let attempt = 0; attempt < 2; attempt++) assert.throws(() => sink.have([root]), { code: 'EISDIR' });
  rmdirSync(path);
  renameSync(`${path}.away`, path);
  assert.deepEqual(sink.have([root]), [true]);
});

test('threads are told of each manifest by its path', () => {
  assert.deepEqual([...eachManifest(shareManifests([]))], []);
  const groups = [
    { groupPath: '/a b/ä\n', times: [0, 253_402_300_799] },
    { groupPath: '/empty', times: [] },
    { groupPath: '/c', times: [1_795_225_600] },
  ];
  assert.deepEqual(
    [...eachManifest(shareManifests(groups))],
    [
      '/a b/ä\n/1970-01-01T00:00:00Z/manifest.json',
      '/a b/ä\n/9999-12-31T23:59:59Z/manifest.json',
      '/c/2026-11-21T01:46:40Z/manifest.json',
    ],
  );
});
