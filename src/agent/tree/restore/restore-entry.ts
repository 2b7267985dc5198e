// Makes one entry of an archive in an open directory of the target: under its name when that is free, by the rules for names that are taken when
// it is not. What replaces something is made beside it first and renamed over it. Never follows a symbolic link.
import { randomBytes } from 'node:crypto';
import { constants } from 'node:os';
import type { DirectoryEntry } from '../../../chunker/directory.ts';
import { FileType, fileType, modeOf, readStat, STAT_BYTES, sizeOf } from '../../../chunker/stat-block.ts';
import { type ByteString, below, display, EMPTY, fromBytes } from '../../../util/byte-string.ts';
import { HoldfastError } from '../../../util/errors.ts';
import { targetError } from '../../restore/target.ts';
import {
  errnoName,
  type FileCalls,
  Metadata,
  OPEN_DIRECTORY,
  OPEN_NEW,
  OPEN_TO_READ,
  STAT_OUT_BYTES,
} from '../file-calls.ts';
import { IdMap } from '../ids/id-map.ts';
import type { RestoreNotes } from './restore-notes.ts';
import { PINNING_ATTRIBUTES, type RestoreRules, replaces } from './restore-rules.ts';

const { EEXIST, EISDIR, ELOOP, ENOENT, ENOTDIR, ENOTEMPTY } = constants.errno;
const { EILSEQ, EINVAL, EMLINK, ENAMETOOLONG, ENOSYS, EOPNOTSUPP, EPERM, EXDEV } = constants.errno;
/** What a file system or a user's rights do not allow; all other failures end the restore. */
const CANNOT_BE_MADE = new Set([EILSEQ, EINVAL, EMLINK, ENAMETOOLONG, ENOSYS, EOPNOTSUPP, EPERM, EXDEV]);

const PARTIAL_PREFIX = '.holdfast-partial-';

/** An open directory of the target. */
export interface Place {
  readonly fd: number;
  /** From the target's top on, for messages. */
  readonly path: ByteString;
}

/** `there`: it is in the target with what the archive says; `left`: something else is there, or nothing. */
export type Outcome = 'there' | 'left';

/** Stat block and extended attributes as they are set. */
export interface FileMetadata {
  readonly stat: Uint8Array;
  readonly xattrs: Uint8Array;
}

export interface OpenedDirectory extends Place {
  /** It was not there before. */
  readonly isNew: boolean;
}

export class EntryMaker {
  readonly calls: FileCalls;
  readonly rules: RestoreRules;
  readonly notes: RestoreNotes;
  readonly #run = randomBytes(6).toString('hex');
  readonly #ids: IdMap | undefined;
  #partials = 0;

  constructor(calls: FileCalls, rules: RestoreRules, notes: RestoreNotes) {
    this.calls = calls;
    this.rules = rules;
    this.notes = notes;
    this.#ids = rules.ids === undefined ? undefined : IdMap.fromJSON(rules.ids);
  }

  /** Makes or enters a directory; undefined when it cannot be made, or a name that is not one is kept. The caller closes the descriptor. */
  directory(at: Place, entry: DirectoryEntry): OpenedDirectory | undefined {
    const path = below(at.path, entry.name);
    let isNew = true;
    let made = this.calls.makeDirectory(at.fd, entry.name, 0o700);
    if (made === -EEXIST) {
      isNew = this.#typeOf(at, entry.name) !== FileType.directory;
      if (isNew && !this.#mayReplace(at, entry)) return undefined;
      made = isNew ? this.calls.remove(at.fd, entry.name, false) : 0;
      if (isNew && made === 0) made = this.calls.makeDirectory(at.fd, entry.name, 0o700);
    }
    if (made < 0) {
      this.#cannot(path, made);
      return undefined;
    }
    const fd = this.calls.open(at.fd, entry.name, OPEN_DIRECTORY, 0);
    if (fd === -ELOOP || fd === -ENOTDIR)
      throw new HoldfastError(
        'target-unfit',
        `${display(path)} was replaced while it was restored; keep others out of the target`,
      );
    if (fd < 0) throw failed(path, fd);
    return { fd, path, isNew };
  }

  /** A regular file of these bytes. */
  file(at: Place, entry: DirectoryEntry, data: Uint8Array): Outcome {
    const { stat, xattrs } = this.#metadata(below(at.path, entry.name), entry);
    return this.put(at, entry, (name, wanted) => this.calls.writeFile(at.fd, name, data, stat, xattrs, wanted));
  }

  /** A symbolic link, FIFO, socket or device. */
  special(at: Place, entry: DirectoryEntry): Outcome {
    const { stat, xattrs } = this.#metadata(below(at.path, entry.name), entry);
    const { major, minor } = readStat(stat);
    const make =
      fileType(stat) === FileType.symlink
        ? (name: ByteString) => this.calls.makeSymlink(at.fd, name, linkTarget(entry))
        : (name: ByteString) => this.calls.makeNode(at.fd, name, modeOf(stat) & ~0o7777, major, minor);
    return this.put(at, entry, (name, wanted) => {
      const made = make(name);
      return made < 0 ? made : this.calls.setMetadata(at.fd, name, -1, stat, xattrs, wanted & ~Metadata.attributes);
    });
  }

  /** A further name of a file that was restored in this run; a negative errno where it has to be a file of its own. */
  link(at: Place, entry: DirectoryEntry, first: Place, firstName: ByteString): Outcome | number {
    const made = this.calls.makeLink(at.fd, entry.name, first.fd, firstName);
    if (made < 0 && made !== -EEXIST) return made;
    if (made === 0) {
      this.#count(entry);
      return 'there';
    }
    return this.put(at, entry, (name) => this.calls.makeLink(at.fd, name, first.fd, firstName), false);
  }

  /**
   * Gives an entry its name. `make` makes it under a name and answers as `writeFile` does: a negative errno, or what could not be set.
   * With `mayStay`, unchanged content stays under the rule `changed`.
   * @throws `target-unfit` when the name is taken and the rules refuse that, `target-failed`.
   */
  put(at: Place, entry: DirectoryEntry, make: (name: ByteString, wanted: number) => number, mayStay = true): Outcome {
    const path = below(at.path, entry.name);
    let result = make(entry.name, Metadata.all);
    if (result === -EEXIST) {
      if (!this.#mayReplace(at, entry)) return 'left';
      if (mayStay && this.#isUnchanged(at, entry)) return this.#keepContent(at, entry);
      result = this.#replace(at, entry, make);
    }
    if (result < 0) {
      this.#cannot(path, result);
      return 'left';
    }
    this.notes.addFailures(path, result);
    this.#count(entry);
    return 'there';
  }

  /** Whether a file that takes long is to be written at all; `there` or `left` when it is not. @throws `target-unfit`. */
  settled(at: Place, entry: DirectoryEntry): Outcome | undefined {
    if (this.#typeOf(at, entry.name) === undefined) return undefined;
    if (!this.#mayReplace(at, entry)) return 'left';
    return this.#isUnchanged(at, entry) ? this.#keepContent(at, entry) : undefined;
  }

  /** A new file under a name that nobody else has, for content that comes in parts. @throws `target-failed`. */
  openPartial(at: Place, entry: DirectoryEntry): { fd: number; name: ByteString } {
    const name = this.#partialName();
    const fd = this.calls.open(at.fd, name, OPEN_NEW, 0o600);
    if (fd < 0) throw failed(below(at.path, entry.name), fd);
    return { fd, name };
  }

  /** Gives such a file its metadata and its name, or removes it. The descriptor stays open. */
  finishPartial(at: Place, entry: DirectoryEntry, partial: { fd: number; name: ByteString }): Outcome {
    const path = below(at.path, entry.name);
    const { stat, xattrs } = this.#metadata(path, entry);
    const { fd } = partial;
    const early = this.calls.setMetadata(at.fd, EMPTY, fd, stat, xattrs, Metadata.all & ~Metadata.attributes);
    let name = partial.name;
    const outcome = this.put(at, entry, (newName) => {
      const moved = this.calls.rename(at.fd, name, newName, false);
      if (moved === 0) name = newName;
      return moved;
    });
    if (name === partial.name) {
      this.calls.remove(at.fd, name, false);
      return outcome;
    }
    this.notes.addFailures(path, early);
    this.notes.addFailures(path, this.calls.setMetadata(at.fd, EMPTY, fd, stat, xattrs, Metadata.attributes));
    return outcome;
  }

  /** Sets a directory's own metadata, behind all that is made in it, and notes what cannot be set. */
  finishDirectory(place: Place, metadata: FileMetadata): void {
    const { stat, xattrs } = this.#metadata(place.path, metadata);
    this.notes.addFailures(place.path, this.calls.setMetadata(place.fd, EMPTY, place.fd, stat, xattrs, Metadata.all));
  }

  /** What is set: with the ids of the host when those in the archive are a container's. */
  #metadata(path: ByteString, { stat, xattrs }: FileMetadata): FileMetadata {
    const mapped = this.#ids?.toHost(stat, xattrs);
    if (mapped?.unmapped) this.notes.add('unmapped', { path });
    return mapped ?? { stat, xattrs };
  }

  #count(entry: DirectoryEntry): void {
    this.notes.entries++;
    this.notes.bytes += sizeOf(entry.stat);
  }

  /** What is made beside is renamed over; an empty directory that is in the way is removed. */
  #replace(at: Place, entry: DirectoryEntry, make: (name: ByteString, wanted: number) => number): number {
    const partial = this.#partialName();
    const pinning = (readStat(entry.stat).attributes & PINNING_ATTRIBUTES) !== 0;
    const result = make(partial, pinning ? Metadata.all & ~Metadata.attributes : Metadata.all);
    if (result < 0) return result;
    let moved = this.calls.rename(at.fd, partial, entry.name, true);
    if (moved === -EISDIR || moved === -ENOTEMPTY || moved === -EEXIST) {
      const removed = this.calls.remove(at.fd, entry.name, true);
      moved = removed < 0 ? removed : this.calls.rename(at.fd, partial, entry.name, true);
    }
    // Also after success: where both were names of one file, a rename does nothing.
    this.calls.remove(at.fd, partial, false);
    if (moved === -ENOTEMPTY || moved === -EEXIST)
      throw new HoldfastError(
        'target-unfit',
        `${display(below(at.path, entry.name))} is a directory that is not empty, and the archive has something else there; remove it first`,
      );
    return moved < 0 || !pinning
      ? Math.min(moved, 0) || result
      : this.#setByName(at, entry, Metadata.attributes) || result;
  }

  /** @throws `target-unfit` when nothing that is there may be touched. */
  #mayReplace(at: Place, entry: DirectoryEntry): boolean {
    const path = below(at.path, entry.name);
    if (replaces(this.rules)) return true;
    if (this.rules.existing === 'refuse')
      throw new HoldfastError(
        'target-unfit',
        `${display(path)} exists in the target; give --overwrite to replace what is there, or --existing keep to leave it`,
      );
    this.notes.add('kept', { path });
    return false;
  }

  #isUnchanged(at: Place, entry: DirectoryEntry): boolean {
    if (this.rules.existing !== 'changed' || fileType(entry.stat) !== FileType.file) return false;
    const out = Buffer.alloc(STAT_OUT_BYTES);
    if (this.calls.stat(at.fd, entry.name, out) < 0) return false;
    const there = readStat(out.subarray(0, STAT_BYTES));
    const wanted = readStat(entry.stat);
    return fileType(out) === FileType.file && there.sizeBytes === wanted.sizeBytes && there.mtimeNs === wanted.mtimeNs;
  }

  #keepContent(at: Place, entry: DirectoryEntry): Outcome {
    const set = this.#setByName(at, entry, Metadata.all);
    if (set < 0) throw failed(below(at.path, entry.name), set);
    this.notes.addFailures(below(at.path, entry.name), set);
    this.#count(entry);
    return 'there';
  }

  #setByName(at: Place, entry: DirectoryEntry, wanted: number): number {
    const fd = this.calls.open(at.fd, entry.name, OPEN_TO_READ, 0);
    if (fd < 0) return fd;
    const { stat, xattrs } = this.#ids?.toHost(entry.stat, entry.xattrs) ?? entry;
    const result = this.calls.setMetadata(at.fd, entry.name, fd, stat, xattrs, wanted);
    this.calls.close(fd);
    return result;
  }

  #typeOf(at: Place, name: ByteString): number | undefined {
    const out = Buffer.alloc(STAT_OUT_BYTES);
    const result = this.calls.stat(at.fd, name, out);
    if (result === -ENOENT) return undefined;
    if (result < 0) throw failed(below(at.path, name), result);
    return fileType(out);
  }

  #cannot(path: ByteString, result: number): void {
    if (!CANNOT_BE_MADE.has(-result)) throw failed(path, result);
    this.notes.add('unmade', { path, detail: errnoName(result) });
  }

  #partialName(): ByteString {
    return `${PARTIAL_PREFIX}${this.#run}-${this.#partials++}` as ByteString;
  }
}

/** An error of the target from a negative errno. */
export function failed(path: ByteString, result: number): HoldfastError {
  const code = errnoName(result);
  return targetError(display(path) || 'the target directory', Object.assign(new Error(code), { code }));
}

function linkTarget(entry: DirectoryEntry): ByteString {
  const target = fromBytes(entry.contentBytes);
  if (target.includes('\0'))
    throw new HoldfastError('object-damaged', 'the target of a symbolic link holds a zero byte');
  return target;
}
