// One piece of a tree's restore in a worker thread: walks down from an open directory, depth first, until it has done enough, and hands back the
// directories that are not finished. Small files are written here; large ones, and files with several names, are left to the main thread.
import { Content, type DirectoryEntry, parseDirectory } from '../../../chunker/directory.ts';
import { Kind, type ObjectId, type StoredObject } from '../../../chunker/object.ts';
import { FileType, fileType, nlinkOf, sizeOf } from '../../../chunker/stat-block.ts';
import { type ByteString, below, display, EMPTY } from '../../../util/byte-string.ts';
import { HoldfastError } from '../../../util/errors.ts';
import type { ObjectFetcher } from '../../object-sink.ts';
import { isLostObject, type PieceRestorer } from '../../restore/piece-restorer.ts';
import { errnoName, type FileCalls } from '../file-calls.ts';
import { inlineContent } from '../file-content.ts';
import { readEntries } from '../read-tree.ts';
import { FileBatch } from './file-batch.ts';
import { EntryMaker, type FileMetadata, type Outcome, type Place } from './restore-entry.ts';
import { type PlainNotes, RestoreNotes } from './restore-notes.ts';
import { LARGE_FILE_BYTES, type RestoreRules, replaces } from './restore-rules.ts';

/** A unit ends behind any of these: long enough that messages cost little, short enough to be shared out and stopped. */
const UNIT_ENTRIES = 1000;
const UNIT_BYTES = 16 * 1024 * 1024;
const UNIT_DIRECTORIES = 200;
/** What a large file or one with several names counts for: it keeps the main thread's lists short. */
const HANDED_BACK_BYTES = 256 * 1024;

/** What is still to be walked of a directory: an object of it (all of it, or a part) from a name on. Names of a part stay below `until`. */
export interface NameRange {
  readonly object: Uint8Array;
  readonly from: ByteString;
  readonly until: ByteString | undefined;
}

/** An open directory to go on with: all of a range of its names, or only the entries that are listed. */
export interface DirectoryWork extends Place, NameRange {
  readonly selected?: readonly DirectoryEntry[];
}

/** Files to be written in an open directory. */
export interface FilesWork extends Place {
  readonly entries: readonly DirectoryEntry[];
}

export interface UnitWork {
  readonly space: number;
  readonly rules: RestoreRules;
  readonly directory: DirectoryWork | undefined;
  readonly files: FilesWork | undefined;
}

/** A directory that this unit opened and did not finish. */
export interface OpenDirectory extends Place {
  /** Its place among `open`; -1 is the directory of the work. */
  readonly parent: number;
  /** What is set when all in it is done; undefined leaves it as it was. */
  readonly metadata: FileMetadata | undefined;
  /** What is still to be walked. */
  readonly rest: readonly NameRange[];
}

/** An entry that the main thread has to deal with. */
export interface HandedBack {
  /** Place among `open` of the directory that it is in; -1 is that of the work. */
  readonly directory: number;
  readonly entry: DirectoryEntry;
}

export interface UnitResult {
  readonly open: readonly OpenDirectory[];
  /** What is still to be walked of the work's directory. */
  readonly rest: readonly NameRange[];
  readonly large: readonly HandedBack[];
  readonly linked: readonly HandedBack[];
  /** Of `files`, in their order. */
  readonly outcomes: readonly Outcome[];
  readonly notes: PlainNotes;
}

interface Frame extends Place {
  readonly parent: Frame | undefined;
  readonly metadata: FileMetadata | undefined;
  readonly object: Uint8Array;
  readonly until: ByteString | undefined;
  readonly entries: AsyncGenerator<DirectoryEntry>;
  /** Where to go on. */
  from: ByteString;
  isListed: boolean;
  /** Directories in it that are not finished, and entries in it that were handed back. */
  pending: number;
  place: number;
}

export class RestoreUnit {
  readonly #work: UnitWork;
  readonly #fetcher: ObjectFetcher;
  readonly #notes = new RestoreNotes();
  readonly #maker: EntryMaker;
  readonly #batch: FileBatch;
  /** Opened by this unit and not closed yet, parents before what is in them. */
  readonly #frames: Frame[] = [];
  readonly #large: { frame: Frame; entry: DirectoryEntry }[] = [];
  readonly #linked: { frame: Frame; entry: DirectoryEntry }[] = [];
  #taken = 0;
  #cost = 0;

  constructor(work: UnitWork, calls: FileCalls, fetcher: ObjectFetcher) {
    this.#work = work;
    this.#fetcher = fetcher;
    this.#maker = new EntryMaker(calls, work.rules, this.#notes);
    this.#batch = new FileBatch(this.#maker);
  }

  /** Descriptors of directories that it hands back stay open; after an error none of its own do. */
  async run(restorer: PieceRestorer): Promise<UnitResult> {
    try {
      const { directory, files } = this.#work;
      const outcomes = files === undefined ? [] : this.#writeFiles(files);
      const parts = directory === undefined ? undefined : this.#parts(directory);
      const top = directory === undefined || parts !== undefined ? undefined : this.#frame(undefined, directory);
      if (top !== undefined) await this.#walk(top);
      this.#batch.flush(restorer, this.#fetcher);
      this.#finishDirectories();
      return this.#result(outcomes, parts ?? (top === undefined ? [] : restOf(top)));
    } catch (error) {
      for (const { fd } of this.#frames) this.#maker.calls.close(fd);
      throw error;
    }
  }

  #writeFiles(files: FilesWork): Outcome[] {
    const outcomes: Outcome[] = files.entries.map(() => 'left');
    files.entries.forEach((entry, place) => {
      const inline = inlineContent(entry);
      const settled = (outcome: Outcome): void => {
        outcomes[place] = outcome;
      };
      if (fileType(entry.stat) !== FileType.file) settled(this.#maker.special(files, entry));
      else if (inline !== undefined) settled(this.#maker.file(files, entry, inline));
      else this.#batch.add(files, entry, settled);
    });
    return outcomes;
  }

  /** A large directory is shared out by its parts; undefined when there is nothing to share out. */
  #parts({ object, path, from, until, selected }: DirectoryWork): NameRange[] | undefined {
    if (until !== undefined || selected !== undefined) return undefined;
    const parts = this.#unlessLost(path, () => {
      const { kind, payload, refs } = this.#fetcher.get(Buffer.from(object) as ObjectId);
      return kind === Kind.directory ? parseDirectory(payload, refs).parts : undefined;
    });
    if (parts === undefined) return undefined;
    return parts
      .map(({ first, id }, place) => ({
        object: Uint8Array.from(id),
        from: first < from ? from : first,
        until: parts[place + 1]?.first ?? LAST,
      }))
      .filter((range) => range.until > from);
  }

  async #walk(top: Frame): Promise<void> {
    const stack = [top];
    for (let frame = stack.at(-1); frame !== undefined && !this.#hasDoneEnough(); frame = stack.at(-1)) {
      const entry = frame.isListed ? undefined : await this.#next(frame);
      if (entry === undefined) {
        frame.isListed = true;
        stack.pop();
        continue;
      }
      frame.from = `${entry.name}\x01` as ByteString;
      const child = this.#take(frame, entry);
      if (child !== undefined) stack.push(child);
    }
  }

  #hasDoneEnough(): boolean {
    return (
      this.#taken >= UNIT_ENTRIES ||
      this.#batch.bytes + this.#cost >= UNIT_BYTES ||
      this.#frames.length >= UNIT_DIRECTORIES
    );
  }

  async #next(frame: Frame): Promise<DirectoryEntry | undefined> {
    try {
      const next = await frame.entries.next();
      if (next.done === true) return undefined;
      if (frame.until !== undefined && next.value.name >= frame.until)
        throw new HoldfastError('object-damaged', 'a part of a directory does not hold the names that it should');
      return next.value;
    } catch (error) {
      this.#noteLostDirectory(frame.path, error);
      return undefined;
    }
  }

  /** Restores one entry, or notes why not; a directory to go on with. */
  #take(frame: Frame, entry: DirectoryEntry): Frame | undefined {
    this.#taken++;
    const type = fileType(entry.stat);
    const path = below(frame.path, entry.name);
    if (entry.content === Content.unreadable) this.#notes.add('unreadable', { path, detail: errnoName(entry.errno) });
    else if (type === FileType.directory) return this.#enter(frame, entry);
    else if (!KNOWN_TYPES.has(type)) this.#notes.add('unmade', { path, detail: 'unknown type' });
    else if (!this.#work.rules.devices && (type === FileType.blockDevice || type === FileType.characterDevice))
      this.#notes.add('device', { path });
    else if (nlinkOf(entry.stat) > 1) this.#handBack(this.#linked, frame, entry);
    else if (type !== FileType.file) this.#maker.special(frame, entry);
    else this.#takeFile(frame, entry);
    return undefined;
  }

  #takeFile(frame: Frame, entry: DirectoryEntry): void {
    const inline = inlineContent(entry);
    if (inline !== undefined) this.#maker.file(frame, entry, inline);
    else if (isLarge(entry)) this.#handBack(this.#large, frame, entry);
    else this.#batch.add(frame, entry);
  }

  #handBack(list: { frame: Frame; entry: DirectoryEntry }[], frame: Frame, entry: DirectoryEntry): void {
    this.#cost += HANDED_BACK_BYTES;
    frame.pending++;
    list.push({ frame, entry: ownCopy(entry) });
  }

  #enter(frame: Frame, entry: DirectoryEntry): Frame | undefined {
    const opened = this.#maker.directory(frame, entry);
    if (opened === undefined) return undefined;
    this.#notes.entries++;
    const { stat, xattrs } = entry;
    const metadata = opened.isNew || replaces(this.#work.rules) ? { stat, xattrs } : undefined;
    const object = entry.content === Content.directory ? entry.refs : NO_OBJECT;
    return this.#frame(frame, { ...opened, object, from: EMPTY, until: undefined }, metadata);
  }

  #frame(parent: Frame | undefined, work: DirectoryWork, metadata?: FileMetadata): Frame {
    const { fd, path, object, from, until } = work;
    const get = async (id: ObjectId): Promise<StoredObject> => this.#fetcher.get(id);
    const entries = work.selected ? each(work.selected) : readEntries(get, Buffer.from(object) as ObjectId, from);
    const isListed = object.length === 0 && work.selected === undefined;
    const frame = { parent, fd, path, object, from, until, metadata, entries, isListed, pending: 0, place: -1 };
    if (parent !== undefined) {
      parent.pending++;
      this.#frames.push(frame);
    }
    return frame;
  }

  /** Those in which nothing is left to do, the deepest first. */
  #finishDirectories(): void {
    for (let place = this.#frames.length - 1; place >= 0; place--) {
      const frame = this.#frames[place] as Frame;
      if (!frame.isListed || frame.pending > 0) continue;
      if (frame.metadata !== undefined) this.#maker.finishDirectory(frame, frame.metadata);
      this.#frames.splice(place, 1);
      this.#maker.calls.close(frame.fd);
      (frame.parent as Frame).pending--;
    }
  }

  #result(outcomes: Outcome[], rest: readonly NameRange[]): UnitResult {
    this.#frames.forEach((frame, place) => {
      frame.place = place;
    });
    const handedBack = (list: readonly { frame: Frame; entry: DirectoryEntry }[]): HandedBack[] =>
      list.map(({ frame, entry }) => ({ directory: frame.place, entry }));
    const open = this.#frames.map((frame) => ({
      parent: (frame.parent as Frame).place,
      fd: frame.fd,
      path: frame.path,
      metadata: frame.metadata === undefined ? undefined : ownMetadata(frame.metadata),
      rest: restOf(frame),
    }));
    const [large, linked] = [handedBack(this.#large), handedBack(this.#linked)];
    return { open, rest, large, linked, outcomes, notes: this.#notes.plain() };
  }

  #unlessLost<Value>(path: ByteString, read: () => Value): Value | undefined {
    try {
      return read();
    } catch (error) {
      // Whoever walks it meets it again, and notes it once.
      if (this.#work.rules.zeroLost && isLostObject(error)) return undefined;
      throw lostDirectory(path, error);
    }
  }

  #noteLostDirectory(path: ByteString, error: unknown): void {
    if (!this.#work.rules.zeroLost || !isLostObject(error)) throw lostDirectory(path, error);
    this.#notes.add('lost', { path, detail: 'the rest of this directory, with all that is in it' });
  }
}

async function* each(entries: readonly DirectoryEntry[]): AsyncGenerator<DirectoryEntry> {
  yield* entries;
}

const NO_OBJECT = new Uint8Array(0);
/** Above every name: where the last part of a directory ends. */
const LAST = '\xff'.repeat(256) as ByteString;
const KNOWN_TYPES = new Set<number>(Object.values(FileType));

/** Whether a file's content is restored range by range. */
export function isLarge(entry: DirectoryEntry): boolean {
  return entry.content === Content.list || (entry.content === Content.pieces && sizeOf(entry.stat) > LARGE_FILE_BYTES);
}

/** An entry that is no view of anything: a view would be sent with all that it is a part of. */
export function ownCopy(entry: DirectoryEntry): DirectoryEntry {
  const { contentBytes, refs } = entry;
  return {
    ...entry,
    ...ownMetadata(entry),
    contentBytes: Uint8Array.from(contentBytes),
    refs: Uint8Array.from(refs),
  };
}

function ownMetadata({ stat, xattrs }: FileMetadata): FileMetadata {
  return { stat: Uint8Array.from(stat), xattrs: Uint8Array.from(xattrs) };
}

function restOf(frame: Frame): NameRange[] {
  return frame.isListed ? [] : [{ object: Uint8Array.from(frame.object), from: frame.from, until: frame.until }];
}

/** The same error, with the directory that could not be read; other errors as they are. */
export function lostDirectory(path: ByteString, error: unknown): unknown {
  if (!(error instanceof HoldfastError) || !isLostObject(error)) return error;
  const name = path === '' ? 'the top directory' : `directory ${display(path)}`;
  return new HoldfastError(
    error.code,
    `${name} is lost (${error.message}); take another snapshot, or --damaged zero to restore the rest`,
    { cause: error, data: { path: display(path) } },
  );
}
