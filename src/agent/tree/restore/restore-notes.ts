// What a restore has to say: how much it did, and, kind by kind, what is not as it was. Counts are exact, examples are bounded.
import type { ByteString } from '../../../util/byte-string.ts';
import { errnoName, Metadata, readFailures } from '../file-calls.ts';

/** Examples that are kept of each kind. */
export const MAX_EXAMPLES = 1000;

export type NoteKind =
  | 'owner'
  | 'mode'
  | 'times'
  | 'xattrs'
  | 'acls'
  | 'attributes'
  /** A device that was left out because nobody asked for devices. */
  | 'device'
  /** Could not be read when the backup was made. */
  | 'unreadable'
  /** The target's file system, or the user's rights, do not allow it. */
  | 'unmade'
  /** A further name of a file that became a file of its own. */
  | 'copied'
  /** It has an id that is in no range of the id map. */
  | 'unmapped'
  /** A name that was taken and was left as it is. */
  | 'kept'
  /** Zeros stand for it, or of a directory nothing. */
  | 'lost';

export interface Note {
  readonly path: ByteString;
  readonly detail?: string;
  /** Of a lost range; undefined: the rest of a directory. */
  readonly offset?: number;
  readonly length?: number;
}

interface Kept {
  count: number;
  readonly first: Note[];
}

/** Structured-cloneable form of `RestoreNotes`. */
export interface PlainNotes {
  readonly entries: number;
  readonly bytes: number;
  readonly kinds: ReadonlyMap<NoteKind, Readonly<Kept>>;
}

const METADATA_KINDS: readonly (readonly [number, NoteKind])[] = [
  [Metadata.owner, 'owner'],
  [Metadata.mode, 'mode'],
  [Metadata.times, 'times'],
  [Metadata.xattrs, 'xattrs'],
  [Metadata.acls, 'acls'],
  [Metadata.attributes, 'attributes'],
];

export class RestoreNotes {
  /** Entries that are in the target as they should be, apart from what the notes say. */
  entries = 0;
  /** Sizes of the regular files among them. */
  bytes = 0;
  readonly #kinds = new Map<NoteKind, Kept>();

  add(kind: NoteKind, note: Note): void {
    const kept = this.#of(kind);
    kept.count++;
    if (kept.first.length < MAX_EXAMPLES) kept.first.push(note);
  }

  /** Takes the answer of `setMetadata` or `writeFile`. */
  addFailures(path: ByteString, result: number): void {
    if (result <= 0) return;
    const { kinds, errno } = readFailures(result);
    for (const [bit, kind] of METADATA_KINDS)
      if ((kinds & bit) !== 0) this.add(kind, { path, detail: errnoName(errno) });
  }

  count(kind: NoteKind): number {
    return this.#kinds.get(kind)?.count ?? 0;
  }

  examples(kind: NoteKind): readonly Note[] {
    return this.#kinds.get(kind)?.first ?? [];
  }

  merge(other: PlainNotes): void {
    this.entries += other.entries;
    this.bytes += other.bytes;
    for (const [kind, { count, first }] of other.kinds) {
      const kept = this.#of(kind);
      kept.count += count;
      kept.first.push(...first.slice(0, MAX_EXAMPLES - kept.first.length));
    }
  }

  plain(): PlainNotes {
    return { entries: this.entries, bytes: this.bytes, kinds: this.#kinds };
  }

  #of(kind: NoteKind): Kept {
    let kept = this.#kinds.get(kind);
    if (kept === undefined) {
      kept = { count: 0, first: [] };
      this.#kinds.set(kind, kept);
    }
    return kept;
  }
}
