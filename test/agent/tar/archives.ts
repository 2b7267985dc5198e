// Builds and reads small tar archives in memory for the tests of this folder.
import { ByteReader } from '../../../src/agent/tar/byte-reader.ts';
import type { MemberContext } from '../../../src/agent/tar/member-of.ts';
import { encodePax } from '../../../src/agent/tar/pax.ts';
import { encodeHeader, padding, type TarHeader } from '../../../src/agent/tar/tar-header.ts';
import type { TarMember } from '../../../src/agent/tar/tar-member.ts';
import { TarReader } from '../../../src/agent/tar/tar-reader.ts';
import { encodeMember, type NewMember } from '../../../src/agent/tar/write-member.ts';
import { FileType } from '../../../src/chunker/stat-block.ts';
import type { ByteString } from '../../../src/util/byte-string.ts';

export const END = Buffer.alloc(1024);
export const bytes = (text: string): ByteString => text as ByteString;

/** A member with its data; what is not named is plain. */
export function plainMember(more: Partial<NewMember> = {}): NewMember {
  return {
    path: bytes('./a'),
    type: FileType.file,
    linkTarget: bytes(''),
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtimeNs: 0n,
    major: 0,
    minor: 0,
    xattrs: [],
    sizeBytes: 0,
    extents: undefined,
    aclAccess: undefined,
    aclDefault: undefined,
    ...more,
  };
}

const FLAGS = {
  file: '0',
  link: '1',
  symlink: '2',
  'character-device': '3',
  'block-device': '4',
  directory: '5',
  fifo: '6',
  'contiguous-file': '7',
} as const;

/** A member as its writer says it, in blocks of ours: the writer itself is asynchronous. */
export function packed(member: NewMember, data: Uint8Array = new Uint8Array(0)): Buffer {
  const { pax, header, map } = encodeMember(member);
  const block = encodeHeader({
    name: bytes(header.name),
    mode: header.mode & 0o7777,
    uid: header.uid,
    gid: header.gid,
    sizeBytes: header.size,
    mtime: header.mtime.getTime() / 1000,
    type: FLAGS[header.type],
    linkName: bytes(header.linkname),
    major: header.devmajor,
    minor: header.devminor,
  });
  return Buffer.concat([pax, block, map, data, Buffer.alloc(padding(data.length))]);
}

/** A member whose header block says exactly this. */
export function raw(header: Partial<TarHeader>, data: Uint8Array = new Uint8Array(0)): Buffer {
  const block = encodeHeader({
    name: bytes('a'),
    mode: 0o644,
    uid: 0,
    gid: 0,
    sizeBytes: data.length,
    mtime: 0,
    type: '0',
    linkName: bytes(''),
    major: 0,
    minor: 0,
    ...header,
  });
  return Buffer.concat([block, data, Buffer.alloc(padding(data.length))]);
}

export function pax(records: Readonly<Record<string, string | Buffer>>, type = 'x'): Buffer {
  const body = encodePax(Object.entries(records).map(([key, value]) => [bytes(key), Buffer.from(value as string)]));
  return raw({ type, name: bytes('PaxHeader') }, body);
}

/** Sets the checksum right after a header block was changed by hand. */
export function reseal(block: Buffer): Buffer {
  block.fill(0x20, 148, 156);
  const sum = block.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

export async function* inPortions(archive: Buffer, portion: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < archive.length; at += portion) yield archive.subarray(at, at + portion);
}

export interface ReadMember {
  readonly member: TarMember;
  readonly data: Buffer;
}

/** All members with their data (without holes), and the warnings. */
export async function readAll(
  archive: Buffer,
  portion = 65536,
  context: Partial<MemberContext> = {},
): Promise<{ members: ReadMember[]; warnings: string[] }> {
  const warnings: string[] = [];
  const reader = new TarReader(new ByteReader(inPortions(archive, portion)), {
    resolveName: () => undefined,
    warn: (message) => void warnings.push(message),
    ...context,
  });
  const members: ReadMember[] = [];
  for (let member = await reader.next(); member !== undefined; member = await reader.next()) {
    const parts: Buffer[] = [];
    for (let part = await reader.data(4096); part !== undefined; part = await reader.data(4096)) parts.push(part);
    members.push({ member, data: Buffer.concat(parts) });
  }
  return { members, warnings };
}
