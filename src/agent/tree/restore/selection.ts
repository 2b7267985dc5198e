// Which entries of an archive to restore, when it is not all of them: paths, and patterns. A directory that is selected comes with all in it; the
// directories above what is selected are made when the first of it is met.
import { Content, type DirectoryEntry } from '../../../chunker/directory.ts';
import { FileType, fileType } from '../../../chunker/stat-block.ts';
import { type ByteString, below, display } from '../../../util/byte-string.ts';
import { HoldfastError } from '../../../util/errors.ts';
import { directoryOf, type GetObject, readEntries } from '../read-tree.ts';
import { BadPattern, matchesPath, type PathPattern, parsePattern } from '../select/path-pattern.ts';

/** `all`: it and all in it. `below`: perhaps something in it. */
export type Verdict = 'all' | 'below' | 'none';

/** Entries that are handed out together. */
const GROUP_ENTRIES = 1000;

export class Selection {
  readonly #paths: readonly ByteString[];
  readonly #patterns: readonly PathPattern[];

  /** Paths without slashes at their ends. @throws `bad-argument`. */
  constructor(paths: readonly ByteString[], patterns: readonly ByteString[]) {
    this.#paths = paths.map(
      (path) =>
        path
          .split('/')
          .filter((name) => name !== '' && name !== '.')
          .join('/') as ByteString,
    );
    this.#patterns = patterns.map(parseSelected);
  }

  get paths(): readonly ByteString[] {
    return this.#paths;
  }

  /** Of a path below the top. */
  verdict(path: ByteString, isDirectory: boolean): Verdict {
    if (this.#paths.includes(path)) return 'all';
    if (this.#patterns.length > 0) {
      const components = path.split('/');
      if (this.#patterns.some((pattern) => matchesPath(pattern, components, 0, isDirectory))) return 'all';
    }
    if (this.#patterns.length > 0 || this.#paths.some((wanted) => wanted.startsWith(`${path}/`))) return 'below';
    return 'none';
  }

  /** Whether everything is selected. */
  get isWhole(): boolean {
    return this.#paths.includes('' as ByteString);
  }

  /** The names in a directory that paths need, sorted; undefined: all of them may match. */
  names(directory: ByteString): readonly ByteString[] | undefined {
    if (this.#patterns.length > 0) return undefined;
    const prefix = directory === '' ? '' : `${directory}/`;
    const rests = this.#paths.filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length));
    return [...new Set(rests.map((rest) => rest.split('/', 1)[0] as ByteString))].sort(byBytes);
  }
}

/** A pattern as backups leave files out by it; it selects here, so it takes nothing back. @throws `bad-argument`. */
function parseSelected(source: ByteString): PathPattern {
  const bad = (why: string): HoldfastError =>
    new HoldfastError('bad-argument', `the pattern ${JSON.stringify(display(source))} selects nothing: ${why}`);
  try {
    const pattern = parsePattern(source);
    if (pattern.isNegated) throw bad('! takes back what is excluded; write \\! for a name that begins so');
    return pattern;
  } catch (error) {
    throw error instanceof BadPattern ? bad(error.message) : error;
  }
}

/** A directory on the way to what is selected. `Made` is what the restore makes of it. */
export interface SelectedGroup<Made> {
  readonly directory: Made;
  readonly entries: readonly DirectoryEntry[];
}

/** How directories on the way come to be. */
export interface WayMaker<Made> {
  /** Makes it in its parent; undefined when it cannot be. */
  make(parent: Made, entry: DirectoryEntry): Made | undefined;
  /** Nothing more will be selected in it. */
  leave(made: Made): void;
}

/**
 * Walks an archive from its top and yields what is selected, directory by directory, in order. Reads only directories that may hold some of it.
 * @throws `object-missing`, `object-damaged`.
 */
export async function* walkSelection<Made>(
  get: GetObject,
  top: DirectoryEntry,
  made: Made,
  selection: Selection,
  maker: WayMaker<Made>,
): AsyncGenerator<SelectedGroup<Made>> {
  yield* walkDirectory(get, top, '' as ByteString, () => made, selection, maker);
}

async function* walkDirectory<Made>(
  get: GetObject,
  directory: DirectoryEntry,
  path: ByteString,
  reach: () => Made | undefined,
  selection: Selection,
  maker: WayMaker<Made>,
): AsyncGenerator<SelectedGroup<Made>> {
  let group: DirectoryEntry[] = [];
  const take = function* (): Generator<SelectedGroup<Made>> {
    const made = group.length > 0 ? reach() : undefined;
    if (made !== undefined) yield { directory: made, entries: group };
    group = [];
  };
  for await (const entry of candidates(get, directory, selection.names(path))) {
    const entryPath = below(path, entry.name);
    const verdict = selection.verdict(entryPath, fileType(entry.stat) === FileType.directory);
    if (verdict === 'all') group.push(entry);
    if (group.length >= GROUP_ENTRIES) yield* take();
    if (verdict !== 'below' || entry.content !== Content.directory) continue;
    let made: { directory: Made | undefined } | undefined;
    const reachChild = (): Made | undefined => {
      if (made !== undefined) return made.directory;
      const parent = reach();
      made = { directory: parent === undefined ? undefined : maker.make(parent, entry) };
      return made.directory;
    };
    yield* walkDirectory(get, entry, entryPath, reachChild, selection, maker);
    // It may have been made in the call, which the compiler does not see.
    const left = (made as { directory: Made | undefined } | undefined)?.directory;
    if (left !== undefined) maker.leave(left);
  }
  yield* take();
}

async function* candidates(
  get: GetObject,
  directory: DirectoryEntry,
  names: readonly ByteString[] | undefined,
): AsyncGenerator<DirectoryEntry> {
  if (names === undefined) {
    yield* readEntries(get, directoryOf(directory));
    return;
  }
  for (const name of names) {
    for await (const entry of readEntries(get, directoryOf(directory), name)) {
      if (entry.name === name) yield entry;
      break;
    }
  }
}

function byBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
