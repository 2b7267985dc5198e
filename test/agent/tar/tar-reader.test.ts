import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatPaxTime, parsePaxTime } from '../../../src/agent/tar/pax.ts';
import type { TarMember } from '../../../src/agent/tar/tar-member.ts';
import { FileType } from '../../../src/chunker/stat-block.ts';
import { bytes, END, packed, pax, plainMember, raw, readAll, reseal } from './archives.ts';

const damaged = { code: 'source-failed' };
const byteText = (minLength: number, maxLength: number) =>
  fc.uint8Array({ minLength, maxLength, min: 1 }).map((all) => bytes(Buffer.from(all).toString('latin1')));

test('what the writer says of a member, the reader reads, in portions of any size', async () => {
  const name = byteText(1, 300).filter((path) => !path.endsWith('/'));
  const member = fc.record(
    {
      path: name,
      type: fc.constantFrom<TarMember['type']>(
        FileType.file,
        FileType.symlink,
        FileType.fifo,
        FileType.blockDevice,
        'link',
      ),
      linkTarget: byteText(1, 200),
      mode: fc.integer({ min: 0, max: 0o7777 }),
      uid: fc.integer({ min: 0, max: 0xffffffff }),
      gid: fc.integer({ min: 0, max: 0xffffffff }),
      mtimeNs: fc.bigInt({ min: -(2n ** 62n) * 1_000_000_000n, max: 2n ** 62n * 1_000_000_000n }),
      major: fc.integer({ min: 0, max: 0xffffffff }),
      minor: fc.integer({ min: 0, max: 0xffffffff }),
      xattrs: fc.uniqueArray(
        fc.record(
          {
            name: byteText(1, 200).map((each) => bytes(`user.${each}`)),
            value: fc.uint8Array({ maxLength: 300 }).map((each) => Buffer.from(each)),
          },
          { noNullPrototype: true },
        ),
        { selector: (each) => each.name, maxLength: 4 },
      ),
      data: fc.uint8Array({ maxLength: 1500 }),
    },
    { noNullPrototype: true },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(member, { maxLength: 4 }), fc.integer({ min: 1, max: 3000 }), async (all, portion) => {
      const wanted = all.map(({ data, ...each }) => {
        const isFile = each.type === FileType.file;
        const isDevice = each.type === FileType.blockDevice;
        const hasTarget = each.type === FileType.symlink || each.type === 'link';
        return {
          member: plainMember({
            ...each,
            linkTarget: hasTarget ? each.linkTarget : bytes(''),
            major: isDevice ? each.major : 0,
            minor: isDevice ? each.minor : 0,
            sizeBytes: isFile ? data.length : 0,
          }),
          data: isFile ? Buffer.from(data) : Buffer.alloc(0),
        };
      });
      const archive = Buffer.concat([...wanted.map(({ member: each, data }) => packed(each, data)), END]);
      const { members, warnings } = await readAll(archive, portion);
      const expected = wanted.map(({ member: { aclAccess: _, aclDefault: __, ...each }, data }) => ({
        member: each,
        data,
      }));
      assert.deepEqual(members, expected);
      assert.deepEqual(warnings, []);
    }),
    { numRuns: 150 },
  );
});

test('names at the edges of what the header block has room for', async () => {
  const paths = [99, 100, 101].flatMap((tail) =>
    [1, 154, 155, 156].map((head) => bytes(`${'p'.repeat(head)}/${'n'.repeat(tail)}`)),
  );
  const archive = Buffer.concat([...paths.map((path) => packed(plainMember({ path }))), END]);
  assert.deepEqual(
    (await readAll(archive)).members.map(({ member }) => member.path),
    paths,
  );
  // Without a pax header where the block is enough: 155 bytes, a slash, 100 bytes.
  assert.equal(packed(plainMember({ path: paths[6] as (typeof paths)[0] })).length, 512);
  assert.ok(packed(plainMember({ path: paths[7] as (typeof paths)[0] })).length > 512);
});

test('an archive that ends at any byte before its end marker is refused', async () => {
  const data = Buffer.from('some content');
  const xattrs = [{ name: bytes('user.a'), value: Buffer.from('1') }];
  const archive = Buffer.concat([packed(plainMember({ sizeBytes: data.length, xattrs }), data), END]);
  for (let length = 0; length < archive.length - 512; length += 97)
    await assert.rejects(readAll(archive.subarray(0, length)), damaged, `${length} bytes`);
  for (const length of [512, 1024, 1536, 2048]) await assert.rejects(readAll(archive.subarray(0, length)), damaged);
  // One block of the two that mark the end is enough when nothing follows.
  assert.equal((await readAll(archive.subarray(0, archive.length - 512))).members.length, 1);
});

test('long names of GNU tar, and pax before them', async () => {
  const long = 'x'.repeat(1000);
  const gnu = Buffer.concat([
    raw({ type: 'L', name: bytes('././@LongLink') }, Buffer.from(`${long}\0`)),
    raw({ type: 'K', name: bytes('././@LongLink') }, Buffer.from(`${long}/target\0`)),
    raw({ type: '2', sizeBytes: 0, name: bytes('short') }),
    raw({ name: bytes('next') }),
    END,
  ]);
  const { members } = await readAll(gnu);
  assert.deepEqual(
    members.map(({ member }) => [member.path, member.linkTarget]),
    [
      [long, `${long}/target`],
      ['next', ''],
    ],
  );
});

test('global records hold until another one of their key, those of a member for it alone, an empty value for none', async () => {
  const archive = Buffer.concat([
    pax({ uid: '5', gid: '6', comment: 'x' }, 'g'),
    raw({ uid: 1, gid: 1 }),
    pax({ uid: '7' }),
    raw({ uid: 1, gid: 1 }),
    pax({ gid: '' }, 'g'),
    raw({ uid: 1, gid: 1 }),
    END,
  ]);
  const { members } = await readAll(archive);
  assert.deepEqual(
    members.map(({ member }) => [member.uid, member.gid]),
    [
      [5, 6],
      [7, 6],
      [5, 1],
    ],
  );
});

test('an empty extended attribute is one, and = and % in names come back', async () => {
  const archive = Buffer.concat([
    pax({
      'SCHILY.xattr.user.empty': '',
      'SCHILY.xattr.user.a%3Db%25': Buffer.from([0, 10, 255]),
      'SCHILY.xattr.system.x': '1',
    }),
    raw({}),
    END,
  ]);
  const { members, warnings } = await readAll(archive);
  assert.deepEqual(members[0]?.member.xattrs, [
    { name: 'user.empty', value: Buffer.alloc(0) },
    { name: 'user.a=b%', value: Buffer.from([0, 10, 255]) },
  ]);
  assert.match(warnings.join(), /system\.x is left out/);
});

test('ACLs with names are resolved; with a name that nobody has they are left out and said', async () => {
  const archive = Buffer.concat([
    pax({ 'SCHILY.acl.access': 'user::rwx,user:lisa:r--,group::r-x,mask::r-x,other::---' }),
    raw({ name: bytes('known') }),
    pax({ 'SCHILY.acl.access': 'user::rwx,user:nobody9:r--,group::r-x,mask::r-x,other::---' }),
    raw({ name: bytes('unknown') }),
    pax({ 'SCHILY.acl.default': 'nonsense' }),
    raw({ name: bytes('broken') }),
    END,
  ]);
  const { members, warnings } = await readAll(archive, 512, {
    resolveName: (_, name) => (name === 'lisa' ? 502 : undefined),
  });
  assert.deepEqual(
    members.map(({ member }) => member.xattrs.map(({ name }) => name)),
    [['system.posix_acl_access'], [], []],
  );
  assert.equal(members[0]?.member.xattrs[0]?.value.readUInt32LE(4 + 8 + 4), 502);
  assert.match(warnings.join('\n'), /unknown: its ACL is left out: nobody here is called "nobody9".*broken: its ACL/s);
});

test('numbers of base 256, with a sign, and impossible ones', async () => {
  const block = raw({ name: bytes('a') });
  block.set([0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], 108);
  block.fill(0xff, 136, 148);
  const { members } = await readAll(Buffer.concat([reseal(block), END]));
  assert.equal(members[0]?.member.uid, 0xffffffff);
  assert.equal(members[0]?.member.mtimeNs, -1_000_000_000n);
  for (const [at, value] of [
    [124, 0xff],
    [108, 0x81],
    [124, 0xa0],
  ] as const) {
    const bad = raw({});
    bad[at] = value;
    if (at === 124 && value === 0xff) bad.fill(0xff, 124, 136);
    await assert.rejects(readAll(Buffer.concat([reseal(bad), END])), damaged, `${value} at ${at}`);
  }
});

test('the four forms of sparse files have one meaning', async () => {
  const data = Buffer.from('AAAABBBBBB');
  const extents = [
    { offset: 100, length: 4 },
    { offset: 5000, length: 6 },
  ];
  const old = Buffer.concat([raw({ type: 'S', sizeBytes: 10 }), data, Buffer.alloc(502)]);
  [100, 4, 5000, 6].forEach(
    (value, place) => void old.write(`${value.toString(8).padStart(11, '0')}\0`, 386 + place * 12, 'latin1'),
  );
  old.write(`${(9000).toString(8).padStart(11, '0')}\0`, 483, 'latin1');
  reseal(old);
  const repeated = [
    ['GNU.sparse.size', '9000'],
    ['GNU.sparse.offset', '100'],
    ['GNU.sparse.numbytes', '4'],
    ['GNU.sparse.offset', '5000'],
    ['GNU.sparse.numbytes', '6'],
  ];
  const record = (key: string, value: string): string => {
    const rest = key.length + value.length + 3;
    return `${rest + 2} ${key}=${value}\n`;
  };
  const form00 = raw(
    { type: 'x' },
    Buffer.from(repeated.map(([key, value]) => record(key as string, value as string)).join('')),
  );
  const form01 = pax({ 'GNU.sparse.size': '9000', 'GNU.sparse.name': 'a', 'GNU.sparse.map': '100,4,5000,6' });
  const form10 = packed(plainMember({ path: bytes('a'), sizeBytes: 9000, extents }), data);
  for (const archive of [
    old,
    Buffer.concat([form00, raw({}, data)]),
    Buffer.concat([form01, raw({ name: bytes('GNUSparseFile.0/a') }, data)]),
    form10,
  ]) {
    const { members } = await readAll(
      Buffer.concat([archive, raw({ name: bytes('next') }, Buffer.from('n')), END]),
      700,
    );
    assert.deepEqual(
      members.map(({ member, data: content }) => [member.path, member.sizeBytes, member.extents, content.toString()]),
      [
        ['a', 9000, extents, 'AAAABBBBBB'],
        ['next', 1, undefined, 'n'],
      ],
    );
  }
});

test('sparse maps that overlap, leave the file or do not fit the data are refused', async () => {
  const sparse = (map: string, size = '100', data = 'AAAA'): Buffer =>
    Buffer.concat([pax({ 'GNU.sparse.size': size, 'GNU.sparse.map': map }), raw({}, Buffer.from(data)), END]);
  assert.equal((await readAll(sparse('0,4'))).members.length, 1);
  for (const map of ['0,5', '0,2,1,2', '99,4', '0', '-1,4', '0,4,x,1', '0,9007199254740991,1,1', '2,2,0,2'])
    await assert.rejects(readAll(sparse(map)), damaged, map);
  await assert.rejects(readAll(sparse('0,4', '3')), damaged);
  const many = Buffer.concat([
    pax({ 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '9' }),
    raw({}, Buffer.from('99999999\n0\n')),
    END,
  ]);
  await assert.rejects(readAll(many), damaged);
  const future = Buffer.concat([
    pax({ 'GNU.sparse.major': '2', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '9' }),
    raw({}),
    END,
  ]);
  await assert.rejects(readAll(future), /form 2\.0/);
});

test('what is hostile or of another kind is refused by its name', async () => {
  const cases: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.from('x'.repeat(2048)), /checksum/],
    [raw({ type: 'M' }), /another volume/],
    [Buffer.concat([raw({ type: 'x', sizeBytes: 2 ** 30 }), raw({})]), /more than the 16777216 that are read/],
    [raw({ type: 'L', sizeBytes: 100_000 }), /more than the 65536/],
    [Buffer.concat([pax({ size: '99999999999999999999' }), raw({})]), /impossible number/],
    [Buffer.concat([pax({ uid: '4294967296' }), raw({})]), /impossible owner/],
    [Buffer.concat([pax({ mtime: '1e9' }), raw({})]), /impossible time/],
    [Buffer.concat([pax({ path: 'a\0b' }), raw({})]), /zero byte/],
    [raw({ type: '2' }), /symbolic link to nothing/],
    [Buffer.concat([raw({ type: 'x' }, Buffer.from('99 path=a\n')), raw({})]), /pax header is damaged/],
    [Buffer.concat([raw({ type: 'x' }, Buffer.from('7 a=bc\n7 a=b')), raw({})]), /pax header is damaged/],
    [Buffer.concat([pax({ 'SCHILY.xattr.': '1' }), raw({})]), /impossible name/],
    [
      Buffer.concat([pax({ 'SCHILY.xattr.user.a': 'x'.repeat(5_000_000) }), raw({})]),
      /more than 4194304 bytes of extended/,
    ],
  ];
  for (const [archive, message] of cases)
    await assert.rejects(readAll(Buffer.concat([archive, END])), { ...damaged, message }, String(message));
});

test('old types, unknown types, and what stands behind the end', async () => {
  const archive = Buffer.concat([
    raw({ name: bytes('dir/'), type: '0' }),
    raw({ name: bytes('contiguous'), type: '7' }, Buffer.from('c')),
    raw({ name: bytes('label'), type: 'V' }),
    raw({ name: bytes('dump'), type: 'D' }, Buffer.from('Yname\0\0')),
    raw({ name: bytes('strange'), type: '~' }, Buffer.from('s')),
    Buffer.alloc(512),
    raw({ name: bytes('after one block of zeros') }),
    END,
    Buffer.from('more'),
  ]);
  const { members, warnings } = await readAll(archive);
  assert.deepEqual(
    members.map(({ member, data }) => [member.path, member.type, data.toString()]),
    [
      ['dir/', FileType.directory, ''],
      ['contiguous', FileType.file, 'c'],
      ['dump', FileType.directory, ''],
      ['strange', FileType.file, 's'],
      ['after one block of zeros', FileType.file, ''],
    ],
  );
  assert.match(warnings.join('\n'), /type "~".*lone block of zeros.*behind the end marker/s);
});

test('times with nine digits, before 1970 too', () => {
  for (const text of ['0', '1.5', '-1.25', '-0.000000001', '4102444800.123456789'])
    assert.equal(formatPaxTime(parsePaxTime(text)), text);
  assert.equal(parsePaxTime('-1.5'), -1_500_000_000n);
  assert.equal(parsePaxTime('1.1234567899'), 1_123_456_789n);
});
