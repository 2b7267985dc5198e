// Which files and directories of a tree cannot be read back. Every distinct directory is walked once, however many snapshots share it; what is
// kept and returned is bounded. A lost directory stands for all that was below it, which nobody knows.
import { Content, type DirectoryEntry, type DirectoryPart, parseDirectory, parsePieces } from '../chunker/directory.ts';
import { copyId, ID_BYTES, Kind, type ObjectId } from '../chunker/object.ts';
import { sizeOf } from '../chunker/stat-block.ts';
import type { Archive } from '../schema/manifest.ts';
import { type ByteString, below } from '../util/byte-string.ts';
import { HoldfastError } from '../util/errors.ts';
import { jsonPath, shownPath } from '../util/shown-path.ts';
import { type DamageSource, DamageWalk } from './damage.ts';
import type { DamagedPath, TreeDamage } from './damaged-paths.ts';

/** Damaged paths of one archive that are named. */
export const MAX_DAMAGED_PATHS = 1000;
/** A longer path is shown by its end: as much as the kernel takes in one. */
const MAX_PATH_BYTES = 4096;
/** Directories that are remembered, some 150 bytes each; then the memory begins anew. */
const MAX_REMEMBERED = 500_000;

/** A directory, or a part of one, under way: what it holds, and how much of that was damaged so far. */
interface Level {
  readonly name: string;
  readonly path: ByteString;
  readonly entries: readonly DirectoryEntry[];
  readonly parts: readonly DirectoryPart[];
  next: number;
  count: number;
}

/** Names that are in a part of a large directory. */
interface Span {
  readonly from: ByteString;
  readonly before: ByteString | undefined;
}

/** Damage of many trees over one source, which must not change meanwhile for what was walked already. */
export class TreeDamageWalk {
  readonly #source: DamageSource;
  readonly #lists: DamageWalk;
  readonly #maxPaths: number;
  /** Damaged paths below each directory that was walked in full. */
  readonly #remembered = new Map<string, number>();
  #levels: Level[] = [];
  #count = 0;
  #first: DamagedPath[] = [];

  constructor(source: DamageSource, maxPaths = MAX_DAMAGED_PATHS) {
    this.#source = source;
    this.#lists = new DamageWalk(source);
    this.#maxPaths = maxPaths;
  }

  /** Walks the metadata of a tree; data objects are not read. With `stopAtFirst` it says whether there is damage, not how much. */
  damage(archive: Archive, stopAtFirst = false): TreeDamage {
    this.#levels = [];
    this.#count = 0;
    this.#first = [];
    const root = Buffer.from(archive.root, 'hex') as ObjectId;
    this.#enter(root, '' as ByteString, undefined, true);
    for (let level = this.#levels.at(-1); level !== undefined; level = this.#levels.at(-1)) {
      if (stopAtFirst && this.#count > 0) break;
      const place = level.next++;
      const entry = level.entries[place];
      const part = level.parts[place];
      if (entry !== undefined) this.#look(entry, level.path);
      else if (part !== undefined)
        this.#enter(part.id, level.path, { from: part.first, before: level.parts[place + 1]?.first }, false);
      else this.#leave(level);
    }
    return { count: this.#count, first: this.#first };
  }

  #look(entry: DirectoryEntry, directory: ByteString): void {
    const path = below(directory, entry.name);
    if (entry.content === Content.directory) this.#enter(copyId(entry.refs), path, undefined, false);
    const bytesLost = this.#bytesLost(entry);
    if (bytesLost > 0) this.#note(() => ({ ...shown(path), type: 'file', sizeBytes: sizeOf(entry.stat), bytesLost }));
  }

  #bytesLost(entry: DirectoryEntry): number {
    if (entry.content === Content.list) {
      const whole = [{ length: Math.max(1, sizeOf(entry.stat)) }];
      return (this.#lists.below(copyId(entry.refs)) ?? whole).reduce((sum, { length }) => sum + length, 0);
    }
    if (entry.content !== Content.pieces) return 0;
    const lost = new Set<number>();
    for (let ref = 0; ref < entry.refs.length / ID_BYTES; ref++)
      if (!this.#source.isReadable(copyId(entry.refs, ref * ID_BYTES))) lost.add(ref);
    return lost.size === 0 ? 0 : lengthOf(entry, lost);
  }

  /** Goes into a directory or a part, unless it is lost, or was walked and has nothing to name. */
  #enter(id: ObjectId, path: ByteString, span: Span | undefined, isRoot: boolean): void {
    const name = id.toString('latin1');
    const known = this.#remembered.get(name);
    if (known === 0 || (known !== undefined && this.#first.length >= this.#maxPaths)) {
      this.#add(known);
      return;
    }
    const found = this.#open(id, isRoot);
    if (found !== undefined) this.#levels.push({ name, path, ...found, next: 0, count: 0 });
    else
      this.#note(() => ({
        ...shown(path),
        type: 'directory',
        sizeBytes: null,
        bytesLost: null,
        ...(span === undefined ? {} : { namesFrom: shownPath(span.from) }),
        ...(span?.before === undefined ? {} : { namesBefore: shownPath(span.before) }),
      }));
  }

  /** Undefined when it is lost. */
  #open(id: ObjectId, isRoot: boolean): Pick<Level, 'entries' | 'parts'> | undefined {
    if (!this.#source.isReadable(id)) return undefined;
    try {
      const { kind, payload, refs } = this.#source.read(id);
      if (kind !== Kind.directory) return undefined;
      const { entries, parts } = parseDirectory(payload, refs, isRoot);
      return { entries: entries ?? [], parts: parts ?? [] };
    } catch (error) {
      if (error instanceof HoldfastError) return undefined;
      throw error;
    }
  }

  #leave({ name, count }: Level): void {
    this.#levels.pop();
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear();
    this.#remembered.set(name, count);
    const above = this.#levels.at(-1);
    if (above !== undefined) above.count += count;
  }

  #note(make: () => DamagedPath): void {
    if (this.#first.length < this.#maxPaths) this.#first.push(make());
    this.#add(1);
  }

  /** Adds to what the level under way has; `#leave` hands it on to those above. */
  #add(count: number): void {
    this.#count += count;
    const level = this.#levels.at(-1);
    if (level !== undefined) level.count += count;
  }
}

/** Bytes of the pieces with these refs. */
function lengthOf(entry: DirectoryEntry, refs: ReadonlySet<number>): number {
  let ref = 0;
  return parsePieces(entry.contentBytes)
    .filter(({ isHole }) => !isHole && refs.has(ref++))
    .reduce((sum, { length }) => sum + length, 0);
}

function shown(path: ByteString): { path: string; pathBytes?: string } {
  const end = path.length <= MAX_PATH_BYTES ? path : (`...${path.slice(-MAX_PATH_BYTES)}` as ByteString);
  return jsonPath('path', end) as { path: string; pathBytes?: string };
}
