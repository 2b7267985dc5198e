// Backs up a tar archive as a file tree: contents are cut and stored as they stream by, entries are kept until the last member, then the
// directories are written. Nothing of the archive touches a file system.
import type { Readable } from 'node:stream';
import { cutRecord, streamCutParameters } from '../../chunker/cut-parameters.ts';
import { encodeXattrs, Mark } from '../../chunker/directory.ts';
import { FileType } from '../../chunker/stat-block.ts';
import type { Archive } from '../../schema/manifest.ts';
import { toBytes } from '../../util/byte-string.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { Session } from '../backup/session.ts';
import { type EntryContent, inlineBytes, NO_CONTENT } from '../tree/content-builder.ts';
import { MAX_INLINE } from '../tree/content-limits.ts';
import { TreeWarnings } from '../tree/tree-warnings.ts';
import { ByteReader } from './byte-reader.ts';
import { ContentWriter } from './content-writer.ts';
import { EntryStore } from './entry-store.ts';
import { hostNames } from './host-names.ts';
import { MemberTree } from './member-tree.ts';
import { openTar } from './open-tar.ts';
import { type PutObjects, storeTree } from './store-tree.ts';
import type { TarMember } from './tar-member.ts';
import { TarReader } from './tar-reader.ts';

/** Most memory of the entries of an archive while it is read. */
const MAX_ENTRY_BYTES = 1024 * 1024 * 1024;

export interface TarWork {
  readonly name: string;
  /** Path of the archive, or the stream that it comes by. */
  readonly source: string | Readable;
  readonly averageBytes: number;
  /** Undefined for the public one. */
  readonly cutSeed: string | undefined;
  readonly onProgress: (bytesDone: number) => void;
  readonly signal: AbortSignal;
  readonly warn: (message: string) => void;
}

/**
 * The last member of one name holds. Directories that no member describes have mode 0755, owner 0 and a time of 0.
 * @throws `source-failed` when the archive is damaged or hostile, `not-found`, `too-large`, `too-many`.
 */
export async function backupTar(
  pool: WorkerPool,
  session: Session,
  work: TarWork,
): Promise<{ archive: Archive; bytesRead: number }> {
  const cut = streamCutParameters(work.averageBytes, work.cutSeed);
  await pool.all('backup.openStream', cut);
  const warnings = new TreeWarnings((message) => work.warn(`${work.name}: ${message}`));
  const context = { resolveName: hostNames(), warn: (message: string) => warnings.add(message) };
  const bytes = new ByteReader(openTar(work.source, work.signal));
  const reader = new TarReader(bytes, context);
  const contents = new ContentWriter(pool, session.id, (kind, refs, payload) => session.put(kind, refs, payload));
  const tree = new MemberTree(context.warn);
  const entries = new EntryStore(MAX_ENTRY_BYTES);
  try {
    for (let member = await reader.next(); member !== undefined; member = await reader.next()) {
      await takeMember(member, { reader, contents, tree, entries, onBytes: () => work.onProgress(bytes.bytesRead) });
      work.onProgress(bytes.bytesRead);
    }
  } finally {
    await bytes.close();
  }
  await contents.finish();
  const put: PutObjects = (thread, objects) => pool.call(thread, 'backup.putObjects', { session: session.id, objects });
  const { root, ...sums } = await storeTree(tree.top, entries, pool.size, put, work.signal);
  const found = warnings.finish();
  const archive: Archive = {
    name: work.name,
    kind: 'tree',
    root: root.toString('hex'),
    ...sums,
    chunker: cutRecord(cut),
  };
  return { archive: found === undefined ? archive : { ...archive, warnings: found }, bytesRead: bytes.bytesRead };
}

interface Intake {
  readonly reader: TarReader;
  readonly contents: ContentWriter;
  readonly tree: MemberTree;
  readonly entries: EntryStore;
  readonly onBytes: () => void;
}

async function takeMember(member: TarMember, intake: Intake): Promise<void> {
  const { tree, entries } = intake;
  if (member.type === 'link') {
    tree.link(member.path, member.linkTarget);
    return;
  }
  if (member.type === FileType.directory) {
    const directory = tree.directory(member.path);
    directory.entry = entries.add(entryOf(member, NO_CONTENT));
    return;
  }
  const file = tree.file(member.path);
  const done = (content: EntryContent): void => {
    file.entry = entries.add(entryOf(member, content));
  };
  if (member.type === FileType.symlink) done(inlineBytes(toBytes(member.linkTarget)));
  else if (member.type !== FileType.file || member.sizeBytes === 0) done(NO_CONTENT);
  else if (member.sizeBytes <= MAX_INLINE) done(inlineBytes(await smallContent(member, intake.reader)));
  else await storeContent(member, intake, done);
}

/** Ctime is that of the modification, for tar has none; marked racy, so that a backup of the living tree reads the file. */
function entryOf(member: TarMember, content: EntryContent): Parameters<EntryStore['add']>[0] {
  const type = member.type as number;
  return {
    ...content,
    marks: type === FileType.file ? Mark.racy : 0,
    stat: {
      mode: type | member.mode,
      uid: member.uid,
      gid: member.gid,
      nlink: 1,
      sizeBytes: type === FileType.file ? member.sizeBytes : 0,
      mtimeNs: member.mtimeNs,
      ctimeNs: member.mtimeNs,
      inode: 0n,
      major: member.major,
      minor: member.minor,
      attributes: 0,
    },
    xattrs: encodeXattrs(member.xattrs),
  };
}

async function smallContent(member: TarMember, reader: TarReader): Promise<Buffer> {
  const content = Buffer.alloc(member.sizeBytes);
  for (const { offset, length } of member.extents ?? [{ offset: 0, length: member.sizeBytes }])
    for (let at = offset; at < offset + length; )
      at += ((await reader.data(offset + length - at)) as Buffer).copy(content, at);
  return content;
}

/** Each extent of a sparse file is cut by itself, between holes. */
async function storeContent(
  member: TarMember,
  { reader, contents, onBytes }: Intake,
  done: (content: EntryContent) => void,
): Promise<void> {
  contents.begin(done);
  let position = 0;
  for (const { offset, length } of member.extents ?? [{ offset: 0, length: member.sizeBytes }]) {
    if (offset > position) await contents.hole(offset - position);
    for (let left = length; left > 0; ) {
      const bytes = (await reader.data(left)) as Buffer;
      await contents.write(bytes);
      left -= bytes.length;
      onBytes();
    }
    position = offset + length;
  }
  if (member.sizeBytes > position) await contents.hole(member.sizeBytes - position);
  await contents.end();
}
