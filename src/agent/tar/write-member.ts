// One member for the writer of tar archives: what the header block can say, and a pax header before it with what that cannot. Names and values are
// bytes; where they are not UTF-8 the pax header says so.
import type { Header } from 'tar-stream';
import { FileType } from '../../chunker/stat-block.ts';
import { type ByteString, toBytes } from '../../util/byte-string.ts';
import { encodePax, formatPaxTime, xattrKey } from './pax.ts';
import { encodeHeader, padding, prefixLength } from './tar-header.ts';
import { type Extent, storedBytes, type TarMember } from './tar-member.ts';

const TYPES: ReadonlyMap<TarMember['type'], Header['type']> = new Map<TarMember['type'], Header['type']>([
  [FileType.file, 'file'],
  ['link', 'link'],
  [FileType.symlink, 'symlink'],
  [FileType.characterDevice, 'character-device'],
  [FileType.blockDevice, 'block-device'],
  [FileType.directory, 'directory'],
  [FileType.fifo, 'fifo'],
]);

/** What the writer's header block has room for; more is said by the pax header. */
const MAX_ID = 0o777777;
const MAX_SIZE = 0o77777777777;
const MAX_SECONDS = 2 ** 31 - 1;
const NAME_BYTES = 100;
/** The writer takes a mode of 0 for one that is missing; it leaves this bit out. */
const NO_MODE_BITS = 0o10000;

/** A member, and the text of its ACLs. */
export interface NewMember extends TarMember {
  readonly aclAccess: string | undefined;
  readonly aclDefault: string | undefined;
}

/** A member on its way into an archive. */
export interface EncodedMember {
  /** Whole blocks that go before its header; empty when that says everything. */
  readonly pax: Buffer;
  readonly header: Header;
  /** Of a sparse file: the first of its data. */
  readonly map: Buffer;
  /** Bytes of data behind the map. */
  readonly dataBytes: number;
}

/** Sparse files are in GNU's form 1.0. */
export function encodeMember(member: NewMember): EncodedMember {
  const { extents, mode, mtimeNs } = member;
  const map = extents === undefined ? Buffer.alloc(0) : encodeSparseMap(extents, member.sizeBytes);
  const dataBytes = member.type === FileType.file ? storedBytes(extents, member.sizeBytes) : 0;
  const size = map.length + dataBytes;
  const name = asciiName(extents === undefined ? member.path : sparseName(member.path));
  const seconds = Number(floorSeconds(mtimeNs));
  const header = {
    name: prefixLength(name) === undefined ? name.slice(0, NAME_BYTES) : name,
    mode: mode === 0 ? NO_MODE_BITS : mode,
    uid: Math.min(member.uid, MAX_ID),
    gid: Math.min(member.gid, MAX_ID),
    size,
    mtime: new Date(Math.min(Math.max(seconds, 0), MAX_SECONDS) * 1000),
    type: TYPES.get(member.type) as NonNullable<Header['type']>,
    linkname: asciiName(member.linkTarget).slice(0, NAME_BYTES),
    devmajor: Math.min(member.major, MAX_ID),
    devminor: Math.min(member.minor, MAX_ID),
    uname: '',
    gname: '',
  };
  return { pax: paxHeader(member, size), header, map, dataBytes };
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
  if (inArchive > MAX_SIZE) add('size', String(inArchive));
  if (member.uid > MAX_ID) add('uid', String(member.uid));
  if (member.gid > MAX_ID) add('gid', String(member.gid));
  const seconds = floorSeconds(member.mtimeNs);
  if (member.mtimeNs !== seconds * 1_000_000_000n || seconds < 0n || seconds > MAX_SECONDS)
    add('mtime', formatPaxTime(member.mtimeNs));
  if (member.major > MAX_ID) add('SCHILY.devmajor', String(member.major));
  if (member.minor > MAX_ID) add('SCHILY.devminor', String(member.minor));
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
