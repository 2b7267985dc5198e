// Extended attributes with ids in them, under other ids: entries of POSIX ACLs, the root of file capabilities. Sources: acl(5) and the kernel's
// posix_acl_xattr.h; capabilities(7), struct vfs_ns_cap_data, and what the kernel shows and takes of it in each user namespace.
import { eachXattr, encodeXattrs } from '../../../chunker/directory.ts';
import type { IdLookup } from './id-ranges.ts';

/** The value to have instead; undefined: the attribute is left out. */
export type MapCapability = (ids: IdLookup, value: Buffer) => Buffer | undefined;

const NO_XATTRS = Buffer.alloc(0);

/** The attributes under other ids; `ids` notes those without a place. @throws HoldfastError `object-damaged`. */
export function mapXattrs(ids: IdLookup, xattrs: Uint8Array, mapCapability: MapCapability): Buffer {
  if (xattrs.length === 0) return NO_XATTRS;
  return encodeXattrs(
    [...eachXattr(xattrs)].flatMap(({ name, value }) => {
      if (name === 'system.posix_acl_access' || name === 'system.posix_acl_default')
        return [{ name, value: mapAcl(ids, value) }];
      if (name !== 'security.capability') return [{ name, value }];
      const mapped = mapCapability(ids, value);
      return mapped === undefined ? [] : [{ name, value: mapped }];
    }),
  );
}

// An ACL: u32 version, then for each entry u16 tag, u16 permissions, u32 id, which only the tags for a named user or group have.
const ACL_VERSION = 2;
const ACL_HEADER_BYTES = 4;
const ACL_ENTRY_BYTES = 8;
const ACL_USER = 0x02;
const ACL_GROUP = 0x08;

/** What is no ACL of version 2 stays as it is: the kernel refuses it. */
function mapAcl(ids: IdLookup, value: Buffer): Buffer {
  const isWhole = value.length >= ACL_HEADER_BYTES && (value.length - ACL_HEADER_BYTES) % ACL_ENTRY_BYTES === 0;
  if (!isWhole || value.readUInt32LE(0) !== ACL_VERSION) return value;
  const mapped = Buffer.from(value);
  for (let at = ACL_HEADER_BYTES; at < mapped.length; at += ACL_ENTRY_BYTES) {
    const tag = mapped.readUInt16LE(at);
    const id = mapped.readUInt32LE(at + 4);
    if (tag === ACL_USER) mapped.writeUInt32LE(ids.user(id), at + 4);
    else if (tag === ACL_GROUP) mapped.writeUInt32LE(ids.group(id), at + 4);
  }
  return mapped;
}

// File capabilities: u32 revision and flags, 16 bytes of capabilities, and from revision 3 on a u32 with the id of the user that is root
// in the namespace for which they hold. Revision 2 holds for root of whoever reads it: on the host that is id 0.
const CAPABILITY_REVISION = 0xff000000;
const REVISION_2 = 0x02000000;
const REVISION_3 = 0x03000000;
const BYTES_2 = 20;
const BYTES_3 = 24;

/**
 * As the container sees them: revision 2 when they hold for its root. Those of another namespace stay as they are; in the container
 * the kernel does not even show them.
 */
export function capabilityToContainer(ids: IdLookup, value: Buffer): Buffer | undefined {
  const root = rootOf(value);
  const mapped = root === undefined ? undefined : ids.findUser(root);
  if (root === undefined) ids.noteIncomplete();
  return mapped === undefined ? value : withRoot(value, mapped);
}

/**
 * As the host must set them: revision 3 with the host's id of the container's root. Left out when that has no place on the host, or in
 * an unknown form: unchanged, they could hold for the host's root.
 */
export function capabilityToHost(ids: IdLookup, value: Buffer): Buffer | undefined {
  const root = rootOf(value);
  const mapped = root === undefined ? undefined : ids.findUser(root);
  if (root === undefined) ids.noteIncomplete();
  return mapped === undefined ? undefined : withRoot(value, mapped);
}

/** Who is root for these capabilities, as the reader sees it; undefined when the value has no form that the kernel takes. */
function rootOf(value: Buffer): number | undefined {
  if (value.length < BYTES_2) return undefined;
  const revision = (value.readUInt32LE(0) & CAPABILITY_REVISION) >>> 0;
  if (revision === REVISION_2 && value.length === BYTES_2) return 0;
  if (revision === REVISION_3 && value.length === BYTES_3) return value.readUInt32LE(BYTES_2);
  return undefined;
}

/** The same capabilities for another root: revision 2 when that is id 0, for so the kernel shows it. */
function withRoot(value: Buffer, root: number): Buffer {
  const mapped = Buffer.alloc(root === 0 ? BYTES_2 : BYTES_3);
  value.copy(mapped, 0, 0, BYTES_2);
  const flags = value.readUInt32LE(0) & ~CAPABILITY_REVISION;
  mapped.writeUInt32LE(((root === 0 ? REVISION_2 : REVISION_3) | flags) >>> 0, 0);
  if (root !== 0) mapped.writeUInt32LE(root, BYTES_2);
  return mapped;
}
