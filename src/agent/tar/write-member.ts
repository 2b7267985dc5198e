// The headers of one member: a ustar block, and a pax header before it with what that block cannot say. Names and values are bytes; where they
// are not UTF-8 the pax header says so.
import { FileType } from '../../chunker/stat-block.ts';
import { type ByteString, toBytes } from '../../util/byte-string.ts';
import { encodePax, formatPaxTime, xattrKey } from './pax.ts';
import { encodeHeader, fitsId, fitsLong, padding, prefixLength } from './tar-header.ts';
import { type Extent, storedBytes, type TarMember } from './tar-member.ts';

const TYPE_FLAGS: ReadonlyMap<TarMember['type'], string> = new Map<TarMember['type'], string>([
  [FileType.file, '0'],
  ['link', '1'],
  [FileType.symlink, '2'],
  [FileType.characterDevice, '3'],
  [FileType.blockDevice, '4'],
  [FileType.directory, '5'],
  [FileType.fifo, '6'],
]);

/** A member, and the text of its ACLs. */
export interface NewMember extends TarMember {
  readonly aclAccess: string | undefined;
  readonly aclDefault: string | undefined;
}

/** Everything before the data, the map of a sparse file (GNU's form 1.0) included; and how many bytes of data follow. */
export function encodeMember(member: NewMember): { readonly head: Buffer; readonly dataBytes: number } {
  const { extents } = member;
  const map = extents === undefined ? Buffer.alloc(0) : encodeSparseMap(extents, member.sizeBytes);
  const dataBytes = member.type === FileType.file ? storedBytes(extents, member.sizeBytes) : 0;
  const inArchive = map.length + dataBytes;
  const name = extents === undefined ? member.path : sparseName(member.path);
  const header = encodeHeader({
    name: asciiName(name),
    mode: member.mode,
    uid: member.uid,
    gid: member.gid,
    sizeBytes: inArchive,
    mtime: Number(floorSeconds(member.mtimeNs)),
    type: TYPE_FLAGS.get(member.type) as string,
    linkName: asciiName(member.linkTarget),
    major: member.major,
    minor: member.minor,
  });
  return { head: Buffer.concat([paxHeader(member, inArchive), header, map]), dataBytes };
}

function paxHeader(member: NewMember, inArchive: number): Buffer {
  const records: [ByteString, Buffer][] = [];
  const add = (key: string, value: string | Uint8Array): void =>
    void records.push([
      key as ByteString,
      typeof value === 'string' ? Buffer.from(value, 'latin1') : Buffer.from(value),
    ]);
  const names = [member.path, member.linkTarget];
  if (names.some((name) => !isUtf8(name))) add('hdrcharset', 'BINARY');
  if (member.extents !== undefined) {
    add('GNU.sparse.major', '1');
    add('GNU.sparse.minor', '0');
    add('GNU.sparse.name', member.path);
    add('GNU.sparse.realsize', String(member.sizeBytes));
  } else if (!fitsHeader(member.path)) add('path', member.path);
  if (!isAscii(member.linkTarget) || member.linkTarget.length > 100) add('linkpath', member.linkTarget);
  if (!fitsLong(inArchive)) add('size', String(inArchive));
  if (!fitsId(member.uid)) add('uid', String(member.uid));
  if (!fitsId(member.gid)) add('gid', String(member.gid));
  if (member.mtimeNs % 1_000_000_000n !== 0n || !fitsLong(Number(floorSeconds(member.mtimeNs))))
    add('mtime', formatPaxTime(member.mtimeNs));
  if (!fitsId(member.major)) add('SCHILY.devmajor', String(member.major));
  if (!fitsId(member.minor)) add('SCHILY.devminor', String(member.minor));
  if (member.aclAccess !== undefined) add('SCHILY.acl.access', member.aclAccess);
  if (member.aclDefault !== undefined) add('SCHILY.acl.default', member.aclDefault);
  for (const { name, value } of member.xattrs) add(xattrKey(name), value);
  if (records.length === 0) return Buffer.alloc(0);
  const body = encodePax(records);
  const base = member.path.replace(/\/+$/, '').split('/').at(-1) as ByteString;
  const header = encodeHeader({
    name: `./PaxHeaders/${asciiName(base.slice(0, 80) as ByteString)}` as ByteString,
    mode: 0o644,
    uid: 0,
    gid: 0,
    sizeBytes: body.length,
    mtime: 0,
    type: 'x',
    linkName: '' as ByteString,
    major: 0,
    minor: 0,
  });
  return Buffer.concat([header, body, Buffer.alloc(padding(body.length))]);
}

/** The number of extents, then offset and length of each, filled up to a block; the last one, empty, marks the end of the file. */
function encodeSparseMap(extents: readonly Extent[], sizeBytes: number): Buffer {
  const last = extents.at(-1);
  const end = last === undefined ? 0 : last.offset + last.length;
  const all = end === sizeBytes ? extents : [...extents, { offset: sizeBytes, length: 0 }];
  const text = Buffer.from(
    `${all.length}\n${all.map(({ offset, length }) => `${offset}\n${length}\n`).join('')}`,
    'latin1',
  );
  return Buffer.concat([text, Buffer.alloc(padding(text.length))]);
}

/** Where a reader that knows no sparse files puts the packed data. */
function sparseName(path: ByteString): ByteString {
  const cut = path.lastIndexOf('/') + 1;
  return `${path.slice(0, cut)}GNUSparseFile.0/${path.slice(cut)}` as ByteString;
}

function fitsHeader(name: ByteString): boolean {
  return isAscii(name) && prefixLength(name) !== undefined;
}

/** What a reader without pax sees of a name that is not ASCII. */
function asciiName(name: ByteString): ByteString {
  return name.replace(/[^ -~]/g, '_') as ByteString;
}

function isAscii(name: ByteString): boolean {
  return !/[^ -~]/.test(name);
}

function isUtf8(name: ByteString): boolean {
  const bytes = toBytes(name);
  return isAscii(name) || Buffer.from(bytes.toString('utf8'), 'utf8').equals(bytes);
}

function floorSeconds(timeNs: bigint): bigint {
  const rest = ((timeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return (timeNs - rest) / 1_000_000_000n;
}
