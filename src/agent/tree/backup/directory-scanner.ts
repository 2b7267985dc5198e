// A worker's part in the backup of a tree: lists a directory, looks at its entries, takes over from the base what did not change, reads and
// stores the rest, and turns it all into directory objects, or into drafts where directories below are still to come.
import { Content, type DirectoryEntry, LeafBuilder, Mark } from '../../../chunker/directory.ts';
import { ID_BYTES, Kind } from '../../../chunker/object.ts';
import { FileType, fileType, readStat } from '../../../chunker/stat-block.ts';
import { type ByteString, below, fromBytes } from '../../../util/byte-string.ts';
import type { ObjectSink } from '../../object-sink.ts';
import { type EntryContent, inlineBytes, NO_CONTENT } from '../content-builder.ts';
import { endsPartBefore, MAX_PART_BYTES } from '../directory-writer.ts';
import { errnoName, type FileCalls, readScan, recordAt, type Scanned, STAT_OUT_BYTES } from '../file-calls.ts';
import type { IdMap } from '../ids/id-map.ts';
import type { OpenDirectories } from '../open-directories.ts';
import { EXCLUDE_FILE, ExcludeRules, type ExcludeRulesJson, MAX_EXCLUDE_FILE_BYTES } from '../select/exclude.ts';
import { BaseDirectory } from './base-directory.ts';
import type {
  ChildDirectory,
  DirectoryResult,
  DirectoryWork,
  PartResult,
  TreeCounts,
  TreeSettings,
  TreeWarning,
} from './directory-work.ts';
import type { FileStorer, StoredFile } from './file-storer.ts';
import { unchangedLeaf } from './unchanged-leaf.ts';

/** Slices of one call, most of them of some 640 names; a directory with more is worked on by several threads. */
const MAX_SLICES = 4;
/** Time stamps are that coarse on some file systems; a later change within them does not show. */
const GRANULARITY_NS = 2_000_000_000n;
const NO_REF = Buffer.alloc(ID_BYTES);

export interface ScannerParts {
  readonly calls: FileCalls;
  readonly directories: OpenDirectories;
  readonly storer: FileStorer;
  readonly settings: TreeSettings;
  readonly idMap: IdMap | undefined;
}

export class DirectoryScanner {
  readonly #parts: ScannerParts;

  constructor(parts: ScannerParts) {
    this.#parts = parts;
  }

  async run(work: DirectoryWork, sink: ObjectSink): Promise<DirectoryResult> {
    const { calls, directories } = this.#parts;
    const directory = directories.open(work.path);
    if (directory < 0) return { kind: 'failed', errno: -directory };
    const names = work.names ?? calls.listNames(directory);
    if (typeof names === 'number') return { kind: 'failed', errno: -names };
    const warnings: TreeWarning[] = [];
    const rules = work.names === undefined ? this.#rulesWithin(directory, names, work, warnings) : work.rules;
    const slices = work.names === undefined ? sliced(names) : [names];
    if (slices.length > MAX_SLICES) return { kind: 'sliced', slices, rules, warnings };
    const base = new BaseDirectory(sink, work.base);
    const parts: PartResult[] = [];
    const counts: TreeCounts = { entries: 0, bytesLogical: 0, bytesRead: 0, filesRead: 0 };
    for (const part of slices) {
      const now = BigInt(Date.now()) * 1_000_000n;
      const scan = calls.scan(directory, part);
      if (typeof scan === 'number') return { kind: 'failed', errno: -scan };
      const slice = new Slice(this.#parts, { ...work, rules }, { directory, sink, base, counts, warnings, now });
      parts.push(...(await slice.run(scan)));
    }
    return { kind: 'done', parts, rules, counts, warnings };
  }

  /** The rules of the directories above, and those of an exclude file in this one. */
  #rulesWithin(
    directory: number,
    names: Uint8Array,
    work: DirectoryWork,
    warnings: TreeWarning[],
  ): ExcludeRulesJson | undefined {
    if (!Buffer.from(names.buffer, names.byteOffset, names.length).includes(EXCLUDE_FILE, 0, 'latin1'))
      return work.rules;
    const bytes = Buffer.alloc(MAX_EXCLUDE_FILE_BYTES + 1);
    const got = this.#parts.calls.readFile(directory, EXCLUDE_FILE, bytes, Buffer.alloc(STAT_OUT_BYTES));
    if (got <= 0) return work.rules;
    const warn = (text: string): void => void warnings.push({ path: work.path, text });
    const rules = work.rules === undefined ? ExcludeRules.compile([]) : ExcludeRules.fromJSON(work.rules);
    return rules.within(work.path, fromBytes(bytes, 0, got), warn).toJSON();
  }
}

/** Names in the form of `listNames`, cut where parts of a directory end. */
export function sliced(names: Uint8Array): Uint8Array[] {
  const bytes = Buffer.from(names.buffer, names.byteOffset, names.length);
  const cuts: number[] = [];
  let count = 0;
  for (let at = 0; at < bytes.length; at += 1 + (bytes[at] as number), count++) {
    const name = bytes.toString('latin1', at + 1, at + 1 + (bytes[at] as number)) as ByteString;
    if (!endsPartBefore(name, count)) continue;
    cuts.push(at);
    count = 0;
  }
  if (cuts.length === 0) return [names];
  return [0, ...cuts].map((from, place) => Uint8Array.from(bytes.subarray(from, cuts[place] ?? bytes.length)));
}

/** What all slices of a call share. */
interface SliceContext {
  readonly directory: number;
  readonly sink: ObjectSink;
  readonly base: BaseDirectory;
  readonly counts: TreeCounts;
  readonly warnings: TreeWarning[];
  /** Before anything of the slice was looked at, in nanoseconds since 1970. */
  readonly now: bigint;
}

/** The entries of one slice, on their way into parts: one, or more when they are large. */
class Slice {
  readonly #parts: ScannerParts;
  readonly #work: DirectoryWork;
  readonly #context: SliceContext;
  readonly #rules: ExcludeRules | undefined;
  readonly #leaf = new LeafBuilder();
  readonly #done: PartResult[] = [];
  #first = '' as ByteString;
  #children: ChildDirectory[] = [];

  constructor(parts: ScannerParts, work: DirectoryWork, context: SliceContext) {
    this.#parts = parts;
    this.#work = work;
    this.#context = context;
    this.#rules = work.rules === undefined ? undefined : ExcludeRules.fromJSON(work.rules);
  }

  /** Its parts; none when nothing of it is to be backed up. */
  async run(scan: Buffer): Promise<PartResult[]> {
    const same = this.#unchanged(scan);
    if (same !== undefined) return [same];
    for (const scanned of readScan(scan)) {
      const pending = this.#take(scanned);
      if (pending !== undefined) await pending;
    }
    if (this.#leaf.count > 0) this.#endPart();
    return this.#done;
  }

  /** The part that the base has of all this, when nothing of it changed. */
  #unchanged(scan: Buffer): PartResult | undefined {
    const { settings, idMap } = this.#parts;
    if (!settings.trustsMetadata || idMap !== undefined || scan.length === 0) return undefined;
    const { name, xattrs } = recordAt(scan, 0);
    const first = scan.toString('latin1', name, xattrs) as ByteString;
    const leaf = this.#context.base.leafFrom(first);
    if (leaf === undefined) return undefined;
    const rules = this.#rules;
    const isExcluded = rules && ((each: ByteString): boolean => rules.excludes(below(this.#work.path, each), false));
    const counts = unchangedLeaf(scan, leaf.object.payload, isExcluded);
    // A quarantined object is not known: reading the files again heals it.
    if (counts === undefined || !this.#context.sink.knows(leaf.object.refs)) return undefined;
    this.#context.counts.entries += counts.entries;
    this.#context.counts.bytesLogical += counts.bytesLogical;
    return { first, id: Uint8Array.from(leaf.id), draft: undefined };
  }

  /** Takes one entry; a promise for a large file only. */
  #take(found: Scanned): Promise<void> | undefined {
    if (found.errno !== 0) {
      this.#warn(found.name, `is left out: it cannot be looked at (${errnoName(found.errno)})`);
      return undefined;
    }
    const type = fileType(found.stat);
    if (this.#rules?.excludes(below(this.#work.path, found.name), type === FileType.directory)) return undefined;
    if (found.xattrErrno !== 0)
      this.#warn(found.name, `its extended attributes cannot be read (${errnoName(found.xattrErrno)})`);
    const scanned = this.#mapped(found);
    const base = this.#context.base.find(scanned.name);
    if (type === FileType.directory) this.#takeDirectory(scanned, base);
    else if (type === FileType.symlink) this.#add(scanned, inlineBytes(scanned.target));
    else if (type === FileType.file) return this.#takeFile(found, scanned, base);
    else if (OTHER_TYPES.has(type)) this.#add(scanned, NO_CONTENT);
    else this.#warn(scanned.name, 'is left out: its type is not known');
    return undefined;
  }

  #mapped(found: Scanned): Scanned {
    const { idMap } = this.#parts;
    if (idMap === undefined) return found;
    const { stat, xattrs, unmapped } = idMap.toContainer(found.stat, found.xattrs);
    if (unmapped) this.#warn(found.name, 'belongs to an id outside of the id map, which is kept as it is');
    return { ...found, stat: Buffer.from(stat), xattrs: Buffer.from(xattrs) };
  }

  #takeDirectory(scanned: Scanned, base: DirectoryEntry | undefined): void {
    const { devices } = this.#parts.settings;
    const isOutside = devices !== undefined && !devices.includes(scanned.device);
    // A bind mount lies on a device that may belong to the archive: it is a mount point all the same.
    if (isOutside || (scanned.isMountPoint && devices?.length === 1)) {
      this.#add(scanned, NO_CONTENT, Mark.mountPoint);
      return;
    }
    this.#beginEntry(scanned.name);
    this.#children.push({
      name: scanned.name,
      ref: this.#leaf.refCount,
      entryAt: this.#leaf.payloadBytes,
      base: base?.content === Content.directory ? Uint8Array.from(base.refs) : undefined,
      identity: `${scanned.device}:${readStat(scanned.stat).inode}`,
      isMountPoint: scanned.isMountPoint,
    });
    const content = { content: Content.directory, contentBytes: NO_CONTENT.contentBytes, refs: NO_REF };
    this.#add(scanned, content, scanned.isMountPoint ? Mark.entered : 0);
  }

  #takeFile(found: Scanned, scanned: Scanned, base: DirectoryEntry | undefined): Promise<void> | undefined {
    if (base !== undefined && this.#parts.settings.trustsMetadata && isUnchanged(scanned, base) && this.#knows(base)) {
      this.#countFile(base.stat);
      this.#addEntry(base);
      return undefined;
    }
    const stored = this.#parts.storer.store(this.#context.directory, found, this.#context.sink);
    if (!(stored instanceof Promise)) {
      this.#takeStored(scanned, stored);
      return undefined;
    }
    return stored.then((late) => this.#takeStored(scanned, late));
  }

  /** A quarantined object is not known: reading the file again heals it. */
  #knows({ refs }: DirectoryEntry): boolean {
    return refs.length === 0 || this.#context.sink.knows(refs);
  }

  #takeStored(scanned: Scanned, file: StoredFile): void {
    this.#context.counts.bytesRead += file.bytesRead;
    this.#context.counts.filesRead++;
    if (file.errno === ENOENT) {
      this.#warn(scanned.name, 'is left out: it vanished while the backup ran');
      return;
    }
    if (file.errno !== 0) {
      this.#warn(scanned.name, `cannot be read (${errnoName(file.errno)}); only its metadata is in the snapshot`);
      this.#add(scanned, { ...NO_CONTENT, content: Content.unreadable }, 0, file.errno);
      return;
    }
    if (file.hasChanged) this.#warn(scanned.name, 'changed each time it was read; the snapshot has what was read last');
    const idMap = this.#parts.idMap;
    const stat = idMap === undefined ? file.stat : idMap.toContainer(file.stat, scanned.xattrs).stat;
    const marks = file.hasChanged || this.#isRacy(stat) ? Mark.racy : 0;
    this.#countFile(stat);
    this.#add({ name: scanned.name, stat, xattrs: scanned.xattrs }, file, marks);
  }

  /** Whether a change from now on might leave the time stamps as they are. */
  #isRacy(stat: Uint8Array): boolean {
    const { ctimeNs, mtimeNs } = readStat(stat);
    const from = this.#context.now - GRANULARITY_NS;
    // A modification time far in the future is somebody's choice, and no sign of a change just now.
    return ctimeNs >= from || (mtimeNs >= from && mtimeNs <= this.#context.now + GRANULARITY_NS);
  }

  #countFile(stat: Uint8Array): void {
    this.#context.counts.bytesLogical += readStat(stat).sizeBytes;
  }

  #add(
    { name, stat, xattrs }: Pick<DirectoryEntry, 'name' | 'stat' | 'xattrs'>,
    { content, contentBytes, refs }: EntryContent,
    marks = 0,
    errno = 0,
  ): void {
    this.#addEntry({ name, stat, xattrs, content, contentBytes, refs, marks, errno });
  }

  #addEntry(entry: DirectoryEntry): void {
    this.#beginEntry(entry.name);
    this.#context.counts.entries++;
    this.#leaf.add(entry);
  }

  /** Ends the part before an entry that begins the next one. Once for each entry, or harmlessly again. */
  #beginEntry(name: ByteString): void {
    if (endsPartBefore(name, this.#leaf.count) || this.#leaf.sizeBytes >= MAX_PART_BYTES) this.#endPart();
    if (this.#leaf.count === 0) this.#first = name;
  }

  #endPart(): void {
    const { refs, payload } = this.#leaf.finish();
    const children = this.#children;
    this.#children = [];
    if (children.length > 0) this.#done.push({ first: this.#first, id: undefined, draft: { refs, payload, children } });
    else
      this.#done.push({
        first: this.#first,
        id: Uint8Array.from(this.#context.sink.put(Kind.directory, refs, payload)),
        draft: undefined,
      });
  }

  #warn(name: ByteString, text: string): void {
    this.#context.warnings.push({ path: below(this.#work.path, name), text });
  }
}

const OTHER_TYPES = new Set<number>([FileType.fifo, FileType.socket, FileType.characterDevice, FileType.blockDevice]);

const ENOENT = 2;

/**
 * Whether a file is as the base has it: type, mode, owner, links, size, both times, inode and extended attributes the same, and the base's
 * content certain.
 */
export function isUnchanged(scanned: Pick<Scanned, 'stat' | 'xattrs'>, base: DirectoryEntry): boolean {
  return (
    (base.marks & Mark.racy) === 0 &&
    base.content !== Content.unreadable &&
    scanned.stat.equals(base.stat) &&
    scanned.xattrs.equals(base.xattrs)
  );
}
