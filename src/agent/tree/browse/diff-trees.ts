// What differs between two trees. Equal ids are equal trees: only directories, and parts of large directories, whose ids differ are read,
// so that the cost grows with what differs. Holds one leaf of each tree a level.
import { Content, type DirectoryEntry } from '../../../chunker/directory.ts';
import type { ObjectId } from '../../../chunker/object.ts';
import { FileType, fileType } from '../../../chunker/stat-block.ts';
import { type ByteString, below, display } from '../../../util/byte-string.ts';
import { HoldfastError } from '../../../util/errors.ts';
import { isLostObject } from '../../restore/piece-restorer.ts';
import { directoryOf, type GetObject, readDirectory, readPart, readRoot } from '../read-tree.ts';
import { differentFields, hasSameContent } from './compare-entries.ts';
import { EntryCursor } from './entry-cursor.ts';

/** `metadata`: the content is the same. What was renamed is removed and added; what changed its type too. */
export type ChangeKind = 'added' | 'removed' | 'changed' | 'metadata';

export interface TreeChange {
  readonly kind: ChangeKind;
  readonly path: ByteString;
  /** Undefined for what was added. */
  readonly before: DirectoryEntry | undefined;
  /** Undefined for what was removed. */
  readonly after: DirectoryEntry | undefined;
  /** What of the metadata differs: `mode`, `owner`, `mtime`, `device`, `attributes`, `xattrs`. */
  readonly fields: readonly string[];
}

/** Takes changes as they are found. */
type Take = (changes: readonly TreeChange[]) => Promise<void>;

/** Changes that are handed on at once. */
const BATCH_CHANGES = 256;
const NOTHING = [] as const;

/**
 * Hands all differences to `take`: in the order of the names, a directory before what it holds. Change times, inode and link numbers and
 * what a backup noted for the next one do not count.
 * @throws `object-missing`, `object-damaged` with the path when a directory that differs cannot be read.
 */
export async function diffTrees(get: GetObject, before: ObjectId, after: ObjectId, take: Take): Promise<void> {
  const diff = new TreeDiff(get, take);
  if (!before.equals(after))
    await diff.compare('' as ByteString, await readRoot(get, before), await readRoot(get, after));
  await diff.finish();
}

class TreeDiff {
  readonly #get: GetObject;
  readonly #take: Take;
  #batch: TreeChange[] = [];

  constructor(get: GetObject, take: Take) {
    this.#get = get;
    this.#take = take;
  }

  /** Two entries of one path. */
  async compare(path: ByteString, before: DirectoryEntry, after: DirectoryEntry): Promise<void> {
    if (fileType(before.stat) !== fileType(after.stat)) {
      await this.#whole('removed', path, before);
      await this.#whole('added', path, after);
      return;
    }
    const fields = differentFields(before, after);
    if (!hasSameContent(before, after)) this.#note({ kind: 'changed', path, before, after, fields });
    else if (fields.length > 0) this.#note({ kind: 'metadata', path, before, after, fields });
    if (this.#batch.length >= BATCH_CHANGES) await this.finish();
    if (fileType(after.stat) === FileType.directory) await this.#directories(path, before, after);
  }

  async finish(): Promise<void> {
    if (this.#batch.length > 0) await this.#take(this.#batch.splice(0));
  }

  async #directories(path: ByteString, before: DirectoryEntry, after: DirectoryEntry): Promise<void> {
    const [old, fresh] = [before, after].map((entry) =>
      entry.content === Content.directory ? directoryOf(entry) : undefined,
    );
    if (old !== undefined && fresh?.equals(old)) return;
    const a = await this.#open(path, old);
    const b = await this.#open(path, fresh);
    // A part that both have holds the same names in both.
    const parts = new Set(a.partIds);
    const shared = new Set(b.partIds.filter((id) => parts.has(id)));
    a.leaveOut(shared);
    b.leaveOut(shared);
    for (;;) {
      const x = a.head ?? (await a.load());
      const y = b.head ?? (await b.load());
      if (x === undefined && y === undefined) return;
      if (y === undefined || (x !== undefined && x.name < y.name)) {
        a.next();
        await this.#whole('removed', below(path, (x as DirectoryEntry).name), x as DirectoryEntry);
      } else if (x === undefined || y.name < x.name) {
        b.next();
        await this.#whole('added', below(path, y.name), y);
      } else {
        a.next();
        b.next();
        await this.compare(below(path, x.name), x, y);
      }
    }
  }

  /** An entry with all that is below it. */
  async #whole(kind: 'added' | 'removed', path: ByteString, entry: DirectoryEntry): Promise<void> {
    const isAdded = kind === 'added';
    this.#note({
      kind,
      path,
      before: isAdded ? undefined : entry,
      after: isAdded ? entry : undefined,
      fields: NOTHING,
    });
    if (this.#batch.length >= BATCH_CHANGES) await this.finish();
    if (entry.content !== Content.directory) return;
    const cursor = await this.#open(path, directoryOf(entry));
    for (let child = await cursor.load(); child !== undefined; child = cursor.head ?? (await cursor.load())) {
      cursor.next();
      await this.#whole(kind, below(path, child.name), child);
    }
  }

  #note(change: TreeChange): void {
    this.#batch.push(change);
  }

  async #open(path: ByteString, directory: ObjectId | undefined): Promise<EntryCursor> {
    if (directory === undefined) return new EntryCursor([], [], async () => NOTHING);
    const { entries, parts } = await naming(path, readDirectory(this.#get, directory));
    return new EntryCursor(entries ?? [], parts ?? [], (part, next) => naming(path, readPart(this.#get, part, next)));
  }
}

async function naming<Result>(path: ByteString, reading: Promise<Result>): Promise<Result> {
  try {
    return await reading;
  } catch (error) {
    if (!isLostObject(error)) throw error;
    const { code, message, data } = error as HoldfastError;
    throw new HoldfastError(code, `directory /${display(path)} cannot be compared: ${message}`, { cause: error, data });
  }
}
