// Ids of a container: parsing, owners, ACLs, capabilities in both directions, and that a file's owner that is not the container's gives
// nobody more than it had.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IdMap } from '../../../../src/agent/tree/ids/id-map.ts';
import { eachXattr, encodeXattrs } from '../../../../src/chunker/directory.ts';
import { FileType, readStat, writeStat } from '../../../../src/chunker/stat-block.ts';
import type { ByteString } from '../../../../src/util/byte-string.ts';
import { HoldfastError } from '../../../../src/util/errors.ts';

const NO_XATTRS = Buffer.alloc(0);
const map = IdMap.parse(['0:100000:65536'], ['0:200000:1000', '1000:1000:1', '1001:201001:64535']) as IdMap;

function stat(uid: number, gid: number, mode = FileType.file | 0o644): Buffer {
  const times = { mtimeNs: 1n, ctimeNs: 2n };
  return writeStat({
    mode,
    uid,
    gid,
    nlink: 1,
    sizeBytes: 7,
    ...times,
    inode: 3n,
    major: 0,
    minor: 0,
    attributes: 0x10,
  });
}

function acl(...entries: [tag: number, permissions: number, id: number][]): Buffer {
  const value = Buffer.alloc(4 + entries.length * 8);
  value.writeUInt32LE(2, 0);
  entries.forEach(([tag, permissions, id], place) => {
    value.writeUInt16LE(tag, 4 + place * 8);
    value.writeUInt16LE(permissions, 6 + place * 8);
    value.writeUInt32LE(id, 8 + place * 8);
  });
  return value;
}

/** cap_net_raw=ep, for the given root; undefined: revision 2. */
function capability(root?: number): Buffer {
  const value = Buffer.alloc(root === undefined ? 20 : 24);
  value.writeUInt32LE((root === undefined ? 0x02000000 : 0x03000000) | 1, 0);
  value.writeUInt32LE(1 << 13, 4);
  if (root !== undefined) value.writeUInt32LE(root, 20);
  return value;
}

const xattrs = (attributes: Record<string, Buffer>): Buffer =>
  encodeXattrs(Object.entries(attributes).map(([name, value]) => ({ name: name as ByteString, value })));
const asRecord = (bytes: Uint8Array): Record<string, Buffer> =>
  Object.fromEntries([...eachXattr(bytes)].map(({ name, value }) => [name, value]));

test('ids go down to the container and up to the host, by the range that holds them', () => {
  const pairs: { container: [uid: number, gid: number]; host: [uid: number, gid: number] }[] = [
    { container: [0, 0], host: [100000, 200000] },
    { container: [65535, 65535], host: [165535, 265535] },
    { container: [33, 1000], host: [100033, 1000] },
    { container: [999, 999], host: [100999, 200999] },
  ];
  for (const { container, host } of pairs) {
    const down = map.toContainer(stat(...host), NO_XATTRS);
    assert.deepEqual(down, { stat: stat(...container), xattrs: NO_XATTRS, unmapped: false });
    const up = map.toHost(stat(...container), NO_XATTRS);
    assert.deepEqual(up, { stat: stat(...host), xattrs: NO_XATTRS, unmapped: false });
  }
});

test('an id without a place stays as it is and is told, one beyond each end of a range', () => {
  for (const id of [99999, 165536, 0, 2 ** 32 - 1]) {
    const { stat: block, unmapped } = map.toContainer(stat(id, 200000), NO_XATTRS);
    assert.deepEqual([readStat(block).uid, readStat(block).gid, unmapped], [id, 0, true]);
  }
  const { stat: block, unmapped } = map.toHost(stat(5, 65536), NO_XATTRS);
  assert.deepEqual([readStat(block).uid, readStat(block).gid, unmapped], [100005, 65536, true]);
});

test('a restored file whose owner has no place gives its set-id bits and capabilities to nobody', () => {
  const attributes = xattrs({ 'security.capability': capability(), 'user.a': Buffer.from('b') });
  const mode = FileType.file | 0o6755;
  for (const [uid, gid] of [
    [70000, 0],
    [0, 70000],
  ] as const) {
    const up = map.toHost(stat(uid, gid, mode), attributes);
    assert.equal(readStat(up.stat).mode, FileType.file | 0o755);
    assert.deepEqual(asRecord(up.xattrs), { 'user.a': Buffer.from('b') });
    assert.equal(up.unmapped, true);
  }
  assert.equal(readStat(map.toHost(stat(0, 0, mode), attributes).stat).mode, mode);
  assert.equal(readStat(map.toContainer(stat(5, 5, mode), attributes).stat).mode, mode, 'a backup takes nothing away');
});

test('named users and groups of ACLs are mapped, the other entries are not', () => {
  const none = 0xffffffff;
  const list = (user: number, group: number): Buffer =>
    acl([1, 6, none], [2, 7, user], [4, 4, none], [8, 5, group], [16, 7, none], [32, 0, none]);
  const host = xattrs({
    'system.posix_acl_access': list(100033, 200005),
    'system.posix_acl_default': list(100000, 1000),
  });
  const container = xattrs({ 'system.posix_acl_access': list(33, 5), 'system.posix_acl_default': list(0, 1000) });
  assert.deepEqual(map.toContainer(stat(100000, 200000), host), {
    stat: stat(0, 0),
    xattrs: container,
    unmapped: false,
  });
  assert.deepEqual(map.toHost(stat(0, 0), container), { stat: stat(100000, 200000), xattrs: host, unmapped: false });
  const foreign = xattrs({ 'system.posix_acl_access': list(5, 200005) });
  const down = map.toContainer(stat(100000, 200000), foreign);
  assert.deepEqual(asRecord(down.xattrs), { 'system.posix_acl_access': list(5, 5) });
  assert.equal(down.unmapped, true);
});

test('what is no ACL or capability that the kernel takes stays in a backup, and such capabilities are not restored', () => {
  const odd = xattrs({
    'security.capability': Buffer.from([0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    'system.posix_acl_access': Buffer.from([3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]),
    'system.posix_acl_default': Buffer.from([2, 0, 0, 0, 2]),
    'user.security.capability': capability(),
  });
  const down = map.toContainer(stat(100000, 200000), odd);
  assert.deepEqual(Buffer.from(down.xattrs), odd);
  assert.equal(down.unmapped, true);
  const { 'security.capability': _, ...rest } = asRecord(odd);
  assert.deepEqual(asRecord(map.toHost(stat(0, 0), odd).xattrs), rest);
  assert.throws(
    () => map.toHost(stat(0, 0), Buffer.from([5, 0])),
    (error: unknown) => error instanceof HoldfastError && error.code === 'object-damaged',
  );
});

test('capabilities hold for the root of the container before and after, and never for the root of the host', () => {
  const down = (value: Buffer): { value: Buffer | undefined; unmapped: boolean } => {
    const mapped = map.toContainer(stat(100000, 200000), xattrs({ 'security.capability': value }));
    return { value: asRecord(mapped.xattrs)['security.capability'], unmapped: mapped.unmapped };
  };
  const up = (value: Buffer): { value: Buffer | undefined; unmapped: boolean } => {
    const mapped = map.toHost(stat(0, 0), xattrs({ 'security.capability': value }));
    return { value: asRecord(mapped.xattrs)['security.capability'], unmapped: mapped.unmapped };
  };
  assert.deepEqual(down(capability(100000)), { value: capability(), unmapped: false });
  assert.deepEqual(down(capability(100500)), { value: capability(500), unmapped: false });
  assert.deepEqual(down(capability(5)), { value: capability(5), unmapped: true });
  assert.deepEqual(down(capability()), { value: capability(), unmapped: true });
  assert.deepEqual(up(capability()), { value: capability(100000), unmapped: false });
  assert.deepEqual(up(capability(500)), { value: capability(100500), unmapped: false });
  assert.deepEqual(up(capability(70000)), { value: undefined, unmapped: true });
  const rootless = IdMap.parse(['1000:1000:1'], ['1000:1000:1']) as IdMap;
  const file = rootless.toHost(stat(1000, 1000), xattrs({ 'security.capability': capability() }));
  assert.deepEqual([file.xattrs.length, file.unmapped], [0, true]);
});

test('any entry that is mapped whole comes back from the host as it was', () => {
  const id = fc.oneof(fc.integer({ min: 0, max: 65535 }), fc.constantFrom(0, 999, 1000, 1001, 65535));
  fc.assert(
    fc.property(id, id, id, id, fc.option(id, { nil: undefined }), (uid, gid, user, group, root) => {
      const attributes = xattrs({
        'security.capability': capability(root === 0 ? undefined : root),
        'system.posix_acl_access': acl([1, 6, 0xffffffff], [2, 7, user], [8, 5, group]),
      });
      const up = map.toHost(stat(uid, gid), attributes);
      assert.equal(up.unmapped, false);
      assert.deepEqual(map.toContainer(up.stat, up.xattrs), {
        stat: stat(uid, gid),
        xattrs: attributes,
        unmapped: false,
      });
    }),
  );
});

test('words that are no map are refused', () => {
  const wrong: readonly (readonly [string[], string[], RegExp])[] = [
    [['0:1:1'], [], /both/],
    [[], ['0:1:1'], /both/],
    [['0:100000'], ['0:1:1'], /CONTAINER:HOST:COUNT/],
    [['0:100000:65536 '], ['0:1:1'], /CONTAINER:HOST:COUNT/],
    [['-1:1:1'], ['0:1:1'], /CONTAINER:HOST:COUNT/],
    [['0:1:1'], ['u:1:1'], /--map-gid/],
    [['0:100000:0'], ['0:1:1'], /at least one/],
    [['0:4294967294:2'], ['0:1:1'], /none above/],
    [['0:100000:10', '9:200000:10'], ['0:1:1'], /container id 9 twice/],
    [['10:100000:10', '0:100009:10'], ['0:1:1'], /host id 100009 twice/],
    [Array.from({ length: 341 }, (_, id) => `${id}:${id}:1`), ['0:1:1'], /340/],
  ];
  for (const [users, groups, why] of wrong)
    assert.throws(
      () => IdMap.parse(users, groups),
      (error: unknown) => error instanceof HoldfastError && error.code === 'bad-argument' && why.test(error.message),
    );
  assert.equal(IdMap.parse([], []), undefined);
  const last = IdMap.parse(['0:4294967293:2'], ['0:0:4294967295']) as IdMap;
  assert.equal(readStat(last.toHost(stat(1, 1), NO_XATTRS).stat).uid, 2 ** 32 - 2);
});

test('a map says the same on the other side of a thread', () => {
  const other = IdMap.fromJSON(structuredClone(map.toJSON()));
  assert.deepEqual(other.toHost(stat(7, 1000), NO_XATTRS), map.toHost(stat(7, 1000), NO_XATTRS));
});
