import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Value } from 'typebox/value';
import { Manifest } from '../../src/schema/manifest.ts';
import {
  DatastoreConfig,
  GroupState,
  HolderRecord,
  Quarantine,
  SessionRecord,
  StoreClockState,
} from '../../src/schema/state-files.ts';

const id = 'ab'.repeat(16);
const root = 'cd'.repeat(32);

const manifest = {
  format: 1,
  client: {
    backup: 'vm/101',
    clientTime: '2026-11-20T02:00:00Z',
    archives: [
      {
        name: 'a.img',
        kind: 'image',
        sizeBytes: 2 ** 40,
        root,
        chunker: { algorithm: 'blk4k-1', minBytes: 1, averageBytes: 2, maxBytes: 3, cutSeed: id },
      },
      { name: 'b.conf', kind: 'blob', sizeBytes: 0, root },
    ],
    base: { snapshot: 'vm/101/2026-11-19T02:00:00Z', sequence: 4 },
    key: null,
    statistics: {
      bytesLogical: 1,
      bytesRead: 1,
      bytesSampled: 0,
      bytesNew: 1,
      objectsNew: 1,
      objectsReused: 0,
      durationMs: 5,
    },
  },
  server: {
    sequence: 5,
    time: 1_790_000_000,
    suspectClock: false,
    session: id,
    space: 0,
    owner: 'root',
    origin: { store: id, sequence: 5 },
    protected: false,
    notes: '',
    damaged: false,
  },
  digest: root,
};

/** The value with one member replaced, by path; `undefined` removes it. */
function changed(value: unknown, path: string, to: unknown): unknown {
  const copy = structuredClone(value) as Record<string, unknown>;
  const parts = path.split('.');
  let at = copy;
  for (const part of parts.slice(0, -1)) at = at[part] as Record<string, unknown>;
  if (to === undefined) delete at[parts.at(-1)!];
  else at[parts.at(-1)!] = to;
  return copy;
}

function paths(value: unknown, prefix = ''): string[] {
  if (value === null || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([name, member]) => [`${prefix}${name}`, ...paths(member, `${prefix}${name}.`)]);
}

test('a manifest as it is, with base or without, and with members of later versions', () => {
  assert.ok(Value.Check(Manifest, manifest));
  assert.ok(Value.Check(Manifest, changed(manifest, 'client.base', null)));
  assert.ok(Value.Check(Manifest, changed(manifest, 'client.key', root)));
  assert.ok(Value.Check(Manifest, changed(manifest, 'client.later', { x: 1 })));
  assert.ok(Value.Check(Manifest, changed(manifest, 'server.lockedUntilClockMs', 2 ** 52)));
});

test('every member is needed and has its type', () => {
  const chunker = 'client.archives.0.chunker';
  // An encrypted snapshot keeps its seed to itself.
  const optional = ['client.archives.0', 'client.archives.1', chunker, `${chunker}.cutSeed`];
  for (const path of paths(manifest).filter((each) => !optional.includes(each))) {
    assert.ok(!Value.Check(Manifest, changed(manifest, path, undefined)), `without ${path}`);
  }
  for (const path of paths(manifest)) {
    assert.ok(!Value.Check(Manifest, changed(manifest, path, Symbol('other'))), `wrong ${path}`);
  }
});

test('values that would break what is built on them are refused', () => {
  const wrong: [string, unknown][] = [
    ['format', 2],
    ['client.archives.0.kind', 'disk'],
    ['client.archives.0.root', root.toUpperCase()],
    ['client.archives.0.root', `${root}00`],
    ['client.archives.0.sizeBytes', -1],
    ['client.archives.0.sizeBytes', 1.5],
    ['client.archives.0.sizeBytes', 2 ** 53],
    ['client.archives', new Array(1025).fill(manifest.client.archives[1])],
    ['client.key', ''],
    ['server.sequence', -1],
    ['server.session', '../../etc'],
    ['server.notes', 'x'.repeat(65_537)],
    ['server.protected', 1],
    ['server.lockedUntilClockMs', -1],
    ['server.lockedUntilClockMs', null],
    ['server.lockedUntilClockMs', 1.5],
    ['digest', ''],
  ];
  for (const [path, value] of wrong) assert.ok(!Value.Check(Manifest, changed(manifest, path, value)), path);
});

test('the small files: every member is needed, ids are ids', () => {
  const files = [
    [
      DatastoreConfig,
      {
        format: 1,
        store: id,
        created: 'x',
        features: { compatible: [], readOnlyCompatible: [], incompatible: [] },
        chunk: { averageBytes: 65536 },
      },
    ],
    [HolderRecord, { epoch: 1, pid: 2, host: 'h', started: 's' }],
    [GroupState, { format: 1, owner: 'root', lastSequence: 0, lastTime: 0 }],
    [
      SessionRecord,
      {
        format: 1,
        session: id,
        kind: 'backup',
        ns: '',
        group: 'vm/1',
        owner: 'root',
        space: 0,
        opened: 'x',
        openedClockMs: 0,
      },
    ],
    [Quarantine, { copies: [{ id: root, space: 0, pack: id, offset: 144 }] }],
    [StoreClockState, { elapsedMs: 0 }],
  ] as const;
  for (const [schema, value] of files) {
    assert.ok(Value.Check(schema, value));
    for (const path of paths(value).filter((each) => !/copies\.0$/.test(each))) {
      assert.ok(!Value.Check(schema, changed(value, path, undefined)), `without ${path}`);
    }
  }
  const numbers: [(typeof files)[number][0], unknown, string][] = [
    [HolderRecord, files[1][1], 'epoch'],
    [GroupState, files[2][1], 'lastSequence'],
    [GroupState, files[2][1], 'lastTime'],
    [SessionRecord, files[3][1], 'openedClockMs'],
    [StoreClockState, files[5][1], 'elapsedMs'],
  ];
  for (const [schema, value, path] of numbers) {
    for (const wrong of [-1, 0.5, '1', null])
      assert.ok(!Value.Check(schema, changed(value, path, wrong)), `${path} ${wrong}`);
  }
});
