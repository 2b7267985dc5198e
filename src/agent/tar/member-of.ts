// A member from its header block and the pax records that stand before it; what pax says goes before what the block says.
import { MAX_INLINE_BYTES, MAX_XATTR_BYTES } from '../../chunker/directory.ts';
import { FileType } from '../../chunker/stat-block.ts';
import { type ByteString, display, fromBytes } from '../../util/byte-string.ts';
import { aclAttribute, type ResolveName } from '../tree/ids/posix-acl.ts';
import { type PaxRecords, parsePaxNumber, parsePaxTime, xattrOf } from './pax.ts';
import { malformedTar, type TarHeader } from './tar-header.ts';
import type { MemberType, TarMember, Xattr } from './tar-member.ts';

const ACLS = [
  { key: 'SCHILY.acl.access', name: 'system.posix_acl_access' as ByteString },
  { key: 'SCHILY.acl.default', name: 'system.posix_acl_default' as ByteString },
];
const MAX_XATTR_NAME_BYTES = 255;

/** Whoever reads: the names that ACLs may have, and where to say what was left out. */
export interface MemberContext {
  readonly resolveName: ResolveName;
  readonly warn: (message: string) => void;
}

/** `sizeBytes` is that of the data in the archive, for any type; the map of a sparse file is not looked at. @throws `source-failed`. */
export function memberOf(header: TarHeader, records: PaxRecords, context: MemberContext): TarMember {
  const pax = new Map(records);
  const text = (key: string, inHeader: ByteString): ByteString => {
    const value = pax.get(key as ByteString);
    return value === undefined || value.length === 0 ? inHeader : fromBytes(value);
  };
  const number = (key: string, inHeader: number): number => {
    const value = pax.get(key as ByteString);
    return value === undefined || value.length === 0 ? inHeader : parsePaxNumber(value);
  };
  const path = text('GNU.sparse.name', text('path', header.name));
  const type = typeOf(header.type, path, context.warn);
  const time = pax.get('mtime' as ByteString);
  const sizeBytes = type === 'link' ? 0 : number('size', header.sizeBytes);
  if (sizeBytes < 0) throw malformedTar(`${display(path)} has an impossible size`);
  const linkTarget = text('linkpath', header.linkName);
  if (path === '' || path.includes('\0') || linkTarget.includes('\0'))
    throw malformedTar('a member has no name, or one with a zero byte');
  if (type === FileType.symlink && (linkTarget === '' || linkTarget.length > MAX_INLINE_BYTES))
    throw malformedTar(`${display(path)} is a symbolic link to nothing, or to more than ${MAX_INLINE_BYTES} bytes`);
  const isDevice = type === FileType.characterDevice || type === FileType.blockDevice;
  return {
    path,
    type,
    linkTarget,
    mode: header.mode & 0o7777,
    uid: u32(number('uid', header.uid), path),
    gid: u32(number('gid', header.gid), path),
    mtimeNs:
      time === undefined || time.length === 0
        ? BigInt(header.mtime) * 1_000_000_000n
        : parsePaxTime(time.toString('latin1')),
    major: isDevice ? u32(number('SCHILY.devmajor', header.major), path) : 0,
    minor: isDevice ? u32(number('SCHILY.devminor', header.minor), path) : 0,
    xattrs: xattrsOf(pax, path, context),
    sizeBytes,
    extents: undefined,
  };
}

function typeOf(flag: string, path: ByteString, warn: (message: string) => void): MemberType {
  switch (flag) {
    case '0':
      // Before there was a type for directories, a slash said so.
      return path.endsWith('/') ? FileType.directory : FileType.file;
    case '7':
    case 'S':
    case 'M':
      return FileType.file;
    case '1':
      return 'link';
    case '2':
      return FileType.symlink;
    case '3':
      return FileType.characterDevice;
    case '4':
      return FileType.blockDevice;
    case '5':
    case 'D':
      return FileType.directory;
    case '6':
      return FileType.fifo;
    default:
      // What POSIX asks for.
      warn(`${display(path)} is of type ${JSON.stringify(flag)}, which is not known: taken for a regular file`);
      return FileType.file;
  }
}

/** Negative ids are those of systems that count in 32 bits with a sign. */
function u32(value: number, path: ByteString): number {
  if (value > 0xffffffff || value < -0x80000000)
    throw malformedTar(`${display(path)} has an impossible owner or device`);
  return value >>> 0;
}

function xattrsOf(
  pax: ReadonlyMap<ByteString, Buffer>,
  path: ByteString,
  { resolveName, warn }: MemberContext,
): Xattr[] {
  const found = new Map<ByteString, Buffer>();
  for (const { key, name } of ACLS) {
    const text = pax.get(key as ByteString)?.toString('utf8') ?? '';
    const acl = text === '' ? undefined : aclAttribute(text, resolveName);
    if (acl !== undefined && 'attribute' in acl) found.set(name, acl.attribute);
    else if (acl !== undefined)
      warn(
        `${display(path)}: its ACL is left out: nobody here is called ${JSON.stringify(acl.unknownName)}; make the archive with --numeric-owner`,
      );
    else if (text !== '')
      warn(`${display(path)}: its ACL is left out: it is not one (${JSON.stringify(text.slice(0, 100))})`);
  }
  const label = pax.get('RHT.security.selinux' as ByteString);
  if (label !== undefined) found.set('security.selinux' as ByteString, label);
  for (const [key, value] of pax) {
    const name = xattrOf(key);
    if (name === undefined) continue;
    if (name === '' || name.length > MAX_XATTR_NAME_BYTES || name.includes('\0'))
      throw malformedTar(`${display(path)} has an extended attribute with an impossible name`);
    if (name.startsWith('system.') && !ACLS.some((acl) => acl.name === name))
      warn(
        `${display(path)}: the extended attribute ${display(name)} is left out: only this system's kernel can make it`,
      );
    else found.set(name, value);
  }
  const xattrs = [...found].map(([name, value]) => ({ name, value }));
  if (xattrs.reduce((sum, { name, value }) => sum + 5 + name.length + value.length, 0) > MAX_XATTR_BYTES)
    throw malformedTar(`${display(path)} has more than ${MAX_XATTR_BYTES} bytes of extended attributes`);
  return xattrs;
}
