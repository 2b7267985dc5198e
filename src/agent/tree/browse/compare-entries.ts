// Whether two entries of one path have the same content, and what of their metadata differs.
import { Content, type DirectoryEntry } from '../../../chunker/directory.ts';
import { FileType, fileType, readStat, sizeOf } from '../../../chunker/stat-block.ts';

/** Of directories their own entry alone: what they hold is compared by itself. */
export function hasSameContent(before: DirectoryEntry, after: DirectoryEntry): boolean {
  const isDirectory = fileType(after.stat) === FileType.directory;
  if (isDirectory && before.content === Content.directory && after.content === Content.directory) return true;
  return (
    before.content === after.content &&
    sizeOf(before.stat) === sizeOf(after.stat) &&
    Buffer.compare(before.contentBytes, after.contentBytes) === 0 &&
    Buffer.compare(before.refs, after.refs) === 0
  );
}

/**
 * Names what a restore would set differently. Change times, inode and link numbers and marks are left out: they say where and when a file
 * was, not what it is.
 */
export function differentFields(before: DirectoryEntry, after: DirectoryEntry): string[] {
  const [old, fresh] = [readStat(before.stat), readStat(after.stat)];
  const fields = {
    mode: old.mode !== fresh.mode,
    owner: old.uid !== fresh.uid || old.gid !== fresh.gid,
    mtime: old.mtimeNs !== fresh.mtimeNs,
    device: old.major !== fresh.major || old.minor !== fresh.minor,
    attributes: old.attributes !== fresh.attributes,
    xattrs: Buffer.compare(before.xattrs, after.xattrs) !== 0,
  };
  return Object.entries(fields)
    .filter(([, differs]) => differs)
    .map(([name]) => name);
}
