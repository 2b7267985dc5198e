// The names of one file: the first is written, the others are linked to it. Bounded: beyond MAX_LINKED_FILES files whose names are not all met,
// further ones are written once for each name, and noted.
import type { DirectoryEntry } from '../../../chunker/directory.ts';
import { ID_BYTES } from '../../../chunker/object.ts';
import { nlinkOf, readStat, writeStat } from '../../../chunker/stat-block.ts';
import { type ByteString, below, EMPTY } from '../../../util/byte-string.ts';
import { errnoName, Metadata, OPEN_DIRECTORY, OPEN_TO_READ } from '../file-calls.ts';
import { OpenDirectories } from '../open-directories.ts';
import type { EntryMaker, Outcome, Place } from './restore-entry.ts';
import { PINNING_ATTRIBUTES } from './restore-rules.ts';

/** Some 300 bytes each. */
export const MAX_LINKED_FILES = 500_000;

/** A name of a file that has several. */
export interface LinkName {
  readonly at: Place;
  readonly entry: DirectoryEntry;
  /** Writes the file under this name, some time, and then says what became of it. */
  write(entry: DirectoryEntry, then: (outcome: Outcome) => void): void;
  /** Nothing more will be done with this name. */
  end(): void;
}

interface LinkedFile {
  readonly key: string;
  /** Where it is; undefined while it is written. */
  there: { readonly directory: ByteString; readonly name: ByteString } | undefined;
  /** Names not met yet. */
  left: number;
  readonly waiting: LinkName[];
}

export class RestoreLinks {
  readonly #maker: EntryMaker;
  readonly #directories: OpenDirectories;
  readonly #maxFiles: number;
  readonly #files = new Map<string, LinkedFile>();
  /** Files that become immutable or append-only when all is linked. */
  readonly #pinned: { readonly directory: ByteString; readonly entry: DirectoryEntry }[] = [];

  /** `top` is the open target directory. */
  constructor(maker: EntryMaker, top: number, maxFiles = MAX_LINKED_FILES) {
    this.#maker = maker;
    this.#directories = new OpenDirectories(maker.calls, top, OPEN_DIRECTORY);
    this.#maxFiles = maxFiles;
  }

  /** Has the first name written, the others linked to it when it is there. */
  take(name: LinkName): void {
    const key = keyOf(name.entry);
    const known = this.#files.get(key);
    if (known === undefined && this.#files.size >= this.#maxFiles)
      this.#copy(name, 'too many files with several names');
    else if (known === undefined) {
      const file: LinkedFile = { key, there: undefined, left: nlinkOf(name.entry.stat) - 1, waiting: [] };
      this.#files.set(key, file);
      this.#writeFirst(file, name);
    } else {
      if (--known.left === 0) this.#files.delete(key);
      if (known.there === undefined) known.waiting.push(name);
      else this.#link(known.there, name);
    }
  }

  /** Sets what would have kept files from being linked. */
  finish(): void {
    for (const { directory, entry } of this.#pinned) {
      const at = this.#directories.open(directory);
      const fd = at < 0 ? at : this.#maker.calls.open(at, entry.name, OPEN_TO_READ, 0);
      const path = below(directory, entry.name);
      if (fd < 0) {
        this.#maker.notes.add('attributes', { path, detail: errnoName(fd) });
        continue;
      }
      const { stat, xattrs } = entry;
      const set = this.#maker.calls.setMetadata(fd, EMPTY, fd, stat, xattrs, Metadata.attributes);
      this.#maker.notes.addFailures(path, set);
      this.#maker.calls.close(fd);
    }
  }

  close(): void {
    this.#directories.close();
  }

  #writeFirst(file: LinkedFile, name: LinkName): void {
    this.#write(name, (outcome) => {
      if (outcome === 'there') {
        file.there = { directory: name.at.path, name: name.entry.name };
        for (const other of file.waiting.splice(0)) this.#link(file.there, other);
        return;
      }
      const next = file.waiting.shift();
      if (next !== undefined) this.#writeFirst(file, next);
      else if (this.#files.get(file.key) === file) this.#files.delete(file.key);
    });
  }

  #write(name: LinkName, then: (outcome: Outcome) => void): void {
    const { entry } = name;
    const stat = readStat(entry.stat);
    const isPinned = (stat.attributes & PINNING_ATTRIBUTES) !== 0;
    const free = isPinned ? writeStat({ ...stat, attributes: stat.attributes & ~PINNING_ATTRIBUTES }) : entry.stat;
    name.write({ ...entry, stat: free }, (outcome) => {
      if (isPinned && outcome === 'there') this.#pinned.push({ directory: name.at.path, entry });
      then(outcome);
      name.end();
    });
  }

  #link(first: { readonly directory: ByteString; readonly name: ByteString }, name: LinkName): void {
    const fd = this.#directories.open(first.directory);
    const linked = fd < 0 ? fd : this.#maker.link(name.at, name.entry, { fd, path: first.directory }, first.name);
    if (typeof linked === 'number') this.#copy(name, errnoName(linked));
    else name.end();
  }

  #copy(name: LinkName, why: string): void {
    this.#maker.notes.add('copied', { path: below(name.at.path, name.entry.name), detail: why });
    this.#write(name, () => {});
  }
}

/**
 * Equal for names of one file: the whole stat block, inode and change time among it, and the first object of its content, so that two file
 * systems of one archive cannot be mixed up.
 */
function keyOf({ stat, refs }: DirectoryEntry): string {
  return Buffer.concat([stat, refs.subarray(0, ID_BYTES)]).toString('latin1');
}
