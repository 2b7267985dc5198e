// POSIX ACLs: the kernel's extended attribute (include/uapi/linux/posix_acl_xattr.h) to the text that tar keeps, and back. Ids are numbers in our text.

const VERSION = 2;
const HEADER_BYTES = 4;
const ENTRY_BYTES = 8;
const NO_ID = 0xffffffff;
const Tag = { userObject: 1, user: 2, groupObject: 4, group: 8, mask: 16, other: 32 } as const;

/** The id of a user or group name; undefined when there is none. */
export type ResolveName = (kind: 'user' | 'group', name: string) => number | undefined;

/** The entries divided by commas, "user::rwx,user:1000:r-x,..."; undefined when it is no ACL. */
export function aclText(attribute: Uint8Array): string | undefined {
  const bytes = Buffer.from(attribute.buffer, attribute.byteOffset, attribute.length);
  if (bytes.length < HEADER_BYTES || (bytes.length - HEADER_BYTES) % ENTRY_BYTES !== 0) return undefined;
  if (bytes.readUInt32LE(0) !== VERSION) return undefined;
  const entries: string[] = [];
  for (let at = HEADER_BYTES; at < bytes.length; at += ENTRY_BYTES) {
    const word = wordOf(bytes.readUInt16LE(at), bytes.readUInt32LE(at + 4));
    const permissions = bytes.readUInt16LE(at + 2);
    if (word === undefined || permissions > 7) return undefined;
    entries.push(`${word}:${[...'rwx'].map((sign, bit) => ((permissions & (4 >> bit)) === 0 ? '-' : sign)).join('')}`);
  }
  return entries.length === 0 ? undefined : entries.join(',');
}

/**
 * The kernel's form of a text: entries divided by commas or lines, short or long words, ids as numbers, as names, or as star adds them behind
 * the permissions; comments are passed over. The answer is the name that nobody knows, or undefined for what is no ACL.
 */
export function aclAttribute(
  text: string,
  resolve: ResolveName,
): { readonly attribute: Buffer } | { readonly unknownName: string } | undefined {
  const entries: { tag: number; permissions: number; id: number }[] = [];
  for (const line of text.split(/[,\n]/)) {
    const entry = line.replace(/#.*/, '').trim();
    if (entry === '') continue;
    const match = /^(u|user|g|group|m|mask|o|other):([^:]*):([rwx-]{1,3})(?::(\d+))?$/.exec(entry);
    if (match === null) return undefined;
    const [, word, name, signs, starId] = match as unknown as [string, string, string, string, string | undefined];
    const kind = word[0] === 'u' ? 'user' : word[0] === 'g' ? 'group' : undefined;
    if (kind === undefined && name !== '') return undefined;
    let id = NO_ID;
    if (kind !== undefined && name !== '') {
      const found = /^\d+$/.test(name) ? Number(name) : starId === undefined ? resolve(kind, name) : Number(starId);
      if (found === undefined) return { unknownName: name };
      if (found >= NO_ID) return undefined;
      id = found;
    }
    const permissions = (signs.includes('r') ? 4 : 0) | (signs.includes('w') ? 2 : 0) | (signs.includes('x') ? 1 : 0);
    entries.push({ tag: tagOf(word[0] as string, name !== ''), permissions, id });
  }
  if (entries.length === 0) return undefined;
  // The kernel takes them in this order only.
  entries.sort((a, b) => a.tag - b.tag || a.id - b.id);
  const attribute = Buffer.alloc(HEADER_BYTES + entries.length * ENTRY_BYTES);
  attribute.writeUInt32LE(VERSION, 0);
  entries.forEach(({ tag, permissions, id }, place) => {
    const at = HEADER_BYTES + place * ENTRY_BYTES;
    attribute.writeUInt16LE(tag, at);
    attribute.writeUInt16LE(permissions, at + 2);
    attribute.writeUInt32LE(id, at + 4);
  });
  return { attribute };
}

function wordOf(tag: number, id: number): string | undefined {
  if (tag === Tag.userObject) return 'user:';
  if (tag === Tag.user) return `user:${id}`;
  if (tag === Tag.groupObject) return 'group:';
  if (tag === Tag.group) return `group:${id}`;
  if (tag === Tag.mask) return 'mask:';
  return tag === Tag.other ? 'other:' : undefined;
}

function tagOf(letter: string, isNamed: boolean): number {
  if (letter === 'u') return isNamed ? Tag.user : Tag.userObject;
  if (letter === 'g') return isNamed ? Tag.group : Tag.groupObject;
  return letter === 'm' ? Tag.mask : Tag.other;
}
