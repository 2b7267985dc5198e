// Restores a tree into a directory: threads walk it from open directories and write small files; this thread keeps the directories that are not
// finished, the names of linked files and the ranges of large ones. All by descriptors: what is in the archive reaches nothing outside of the target.
import { constants, mkdirSync } from 'node:fs';
import { Content, type DirectoryEntry } from '../../../chunker/directory.ts';
import type { ObjectId } from '../../../chunker/object.ts';
import { parseId } from '../../../chunker/object.ts';
import { FileType, fileType } from '../../../chunker/stat-block.ts';
import type { Archive } from '../../../schema/manifest.ts';
import { EMPTY, fromText } from '../../../util/byte-string.ts';
import { HoldfastError, systemCode } from '../../../util/errors.ts';
import type { WorkerPool } from '../../../util/worker-pool.ts';
import type { LostRange } from '../../restore/piece-restorer.ts';
import { targetError } from '../../restore/target.ts';
import { errnoName, loadFileCalls, OPEN_DIRECTORY } from '../file-calls.ts';
import { directoryOf, findPath, type GetObject, readRoot } from '../read-tree.ts';
import { RestoreLinks } from './hard-links.ts';
import { LargeFile } from './large-files.ts';
import { EntryMaker, type FileMetadata, type Outcome, type Place } from './restore-entry.ts';
import { RestoreNotes } from './restore-notes.ts';
import { RestoreQueue, type Task } from './restore-queue.ts';
import { type RestoreRules, replaces } from './restore-rules.ts';
import { isLarge, type NameRange, type UnitResult, type UnitWork } from './restore-unit.ts';
import { type Selection, walkSelection } from './selection.ts';

export interface TreeRestoreRequest {
  readonly archive: Archive;
  readonly space: number;
  /** A directory, made when its parent is there. */
  readonly target: string;
  readonly rules: RestoreRules;
  /** Undefined: everything. */
  readonly selection: Selection | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: (bytesDone: number, bytesTotal: number) => void;
}

/** An open directory of the target in which something is left to do. */
interface OpenNode extends Place {
  readonly parent: OpenNode | undefined;
  readonly metadata: FileMetadata | undefined;
  /** Units, entries and directories in it that are not done, and who walks it. */
  pending: number;
}

/** Of entries that are listed one by one. */
const SELECTED: NameRange = { object: new Uint8Array(0), from: EMPTY, until: undefined };
const NO_FOLLOW = constants.O_NOFOLLOW;

/**
 * Restores an archive of kind `tree` and tells what was not as it was. What was restored before an error stays.
 * @throws `not-found` for a path that is not there, `target-unfit`, `target-failed`, `object-missing`, `object-damaged`, `aborted`.
 */
export async function runRestoreTree(
  request: TreeRestoreRequest,
  pool: WorkerPool,
  get: GetObject,
): Promise<RestoreNotes> {
  const root = parseId(request.archive.root) as ObjectId;
  // Before anything is written.
  for (const path of request.selection?.paths ?? []) await findPath(get, root, path);
  const top = await readRoot(get, root);
  const restore = new TreeRestore(request, pool, get);
  try {
    await restore.run(top);
  } finally {
    restore.close();
  }
  return restore.notes;
}

/** Whether a path that is selected is a directory, so that there may be much to do. @throws `not-found`. */
export async function selectsDirectory(get: GetObject, archive: Archive, selection: Selection): Promise<boolean> {
  const root = parseId(archive.root) as ObjectId;
  for (const path of selection.paths) if ((await findPath(get, root, path)).content === Content.directory) return true;
  return false;
}

class TreeRestore {
  readonly notes = new RestoreNotes();
  readonly #request: TreeRestoreRequest;
  readonly #pool: WorkerPool;
  readonly #get: GetObject;
  readonly #maker: EntryMaker;
  readonly #nodes = new Set<OpenNode>();
  readonly #files = new Set<LargeFile>();
  #queue: RestoreQueue | undefined;
  #links: RestoreLinks | undefined;

  constructor(request: TreeRestoreRequest, pool: WorkerPool, get: GetObject) {
    this.#request = request;
    this.#pool = pool;
    this.#get = get;
    this.#maker = new EntryMaker(loadFileCalls(), request.rules, this.notes);
  }

  async run(top: DirectoryEntry): Promise<void> {
    const { signal } = this.#request;
    const target = this.#openTarget(top);
    this.#links = new RestoreLinks(this.#maker, target.fd);
    this.#queue = new RestoreQueue(this.#plan(top, target));
    await this.#queue.run(this.#pool.size, signal);
    this.#links.finish();
    this.#links.close();
    this.#release(target);
  }

  /** After a failure: closes what is open, and removes what has no name of its own yet. */
  close(): void {
    this.#links?.close();
    for (const file of this.#files) file.discard();
    for (const node of this.#nodes) this.#maker.calls.close(node.fd);
    this.#files.clear();
    this.#nodes.clear();
  }

  /** Its own metadata is set when it was empty, or when what is there is replaced. */
  #openTarget(top: DirectoryEntry): OpenNode {
    const { target, rules, selection } = this.#request;
    const { calls } = this.#maker;
    try {
      mkdirSync(target, 0o700);
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw targetError(target, error);
    }
    // What the user names may be a symbolic link.
    const fd = calls.open(-1, fromText(target), OPEN_DIRECTORY & ~NO_FOLLOW, 0);
    if (fd < 0)
      throw new HoldfastError(
        'target-unfit',
        `${target} cannot be opened as a directory (${errnoName(fd)}); name another`,
      );
    const names = calls.listNames(fd);
    const isEmpty = typeof names !== 'number' && names.length === 0;
    const isWhole = selection === undefined || selection.isWhole;
    const metadata = isWhole && (isEmpty || replaces(rules)) ? { stat: top.stat, xattrs: top.xattrs } : undefined;
    if (metadata !== undefined) this.notes.entries++;
    return this.#open(undefined, { fd, path: EMPTY, metadata });
  }

  async *#plan(top: DirectoryEntry, target: OpenNode): AsyncGenerator<Task> {
    const { selection } = this.#request;
    if (selection === undefined || selection.isWhole) {
      yield this.#walkTask(target, { object: directoryOf(top), from: EMPTY, until: undefined });
      return;
    }
    const way = {
      make: (parent: OpenNode, entry: DirectoryEntry) => this.#enter(parent, entry),
      leave: (node: OpenNode) => this.#release(node),
    };
    for await (const { directory, entries } of walkSelection(this.#breathing(), top, target, selection, way))
      yield this.#walkTask(directory, SELECTED, entries);
  }

  /** Lets signals and answers of threads through, now and then. */
  #breathing(): GetObject {
    let reads = 0;
    return async (id) => {
      if (++reads % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
      this.#request.signal.throwIfAborted();
      return await this.#get(id);
    };
  }

  /** A directory on the way to what is selected; one that was there keeps what it has. */
  #enter(parent: OpenNode, entry: DirectoryEntry): OpenNode | undefined {
    const opened = this.#maker.directory(parent, entry);
    if (opened === undefined) return undefined;
    const metadata = opened.isNew ? { stat: entry.stat, xattrs: entry.xattrs } : undefined;
    return this.#open(parent, { ...opened, metadata });
  }

  #walkTask(node: OpenNode, range: NameRange, selected?: readonly DirectoryEntry[]): Task {
    node.pending++;
    return async (thread) => {
      const { fd, path } = node;
      const entries = selected?.filter(({ name }) => name >= range.from);
      const directory = { fd, path, ...range, ...(entries === undefined ? {} : { selected: entries }) };
      const result = await this.#unit(thread, { directory, files: undefined });
      this.#absorb(node, result, selected);
      this.#release(node);
    };
  }

  async #unit(thread: number, work: Pick<UnitWork, 'directory' | 'files'>): Promise<UnitResult> {
    const { space, rules } = this.#request;
    return await this.#pool.call<UnitResult>(thread, 'restore.treeUnit', { space, rules, ...work });
  }

  /** Takes over what a unit left open; what was met last goes on first. */
  #absorb(node: OpenNode, result: UnitResult, selected: readonly DirectoryEntry[] | undefined): void {
    this.notes.merge(result.notes);
    this.#showProgress();
    const nodes: OpenNode[] = [];
    const nodeAt = (place: number): OpenNode => (place < 0 ? node : (nodes[place] as OpenNode));
    for (const open of result.open) nodes.push(this.#open(nodeAt(open.parent), open, 0));
    const goOn = (at: OpenNode, rest: readonly NameRange[], entries?: readonly DirectoryEntry[]): void => {
      for (const range of [...rest].reverse()) this.#push(this.#walkTask(at, range, entries));
    };
    goOn(node, result.rest, selected);
    result.open.forEach(({ rest }, place) => {
      goOn(nodeAt(place), rest);
    });
    for (const { directory, entry } of result.large) this.#restoreLarge(nodeAt(directory), entry, () => {});
    const linked = result.linked.map(({ directory, entry }) => ({ at: nodeAt(directory), entry }));
    for (const { at } of linked) at.pending++;
    for (const { at, entry } of linked) this.#takeLinked(at, entry);
  }

  #takeLinked(at: OpenNode, entry: DirectoryEntry): void {
    (this.#links as RestoreLinks).take({
      at,
      entry,
      write: (free, then) => this.#writeAlone(at, free, then),
      end: () => this.#release(at),
    });
  }

  #writeAlone(at: OpenNode, entry: DirectoryEntry, then: (outcome: Outcome) => void): void {
    if (fileType(entry.stat) === FileType.file && isLarge(entry)) {
      this.#restoreLarge(at, entry, then);
      return;
    }
    at.pending++;
    this.#push(async (thread) => {
      const { fd, path } = at;
      const result = await this.#unit(thread, { directory: undefined, files: { fd, path, entries: [entry] } });
      this.notes.merge(result.notes);
      then(result.outcomes[0] as Outcome);
      this.#release(at);
    });
  }

  #restoreLarge(at: OpenNode, entry: DirectoryEntry, then: (outcome: Outcome) => void): void {
    at.pending++;
    const end = (outcome: Outcome): void => {
      then(outcome);
      this.#release(at);
    };
    this.#push(async (thread) => {
      const settled = this.#maker.settled(at, entry);
      if (settled !== undefined) {
        end(settled);
        return;
      }
      const file = new LargeFile(this.#maker, at, entry, this.#get);
      this.#files.add(file);
      await this.#rangeTask(file, end)(thread);
    });
  }

  #rangeTask(file: LargeFile, end: (outcome: Outcome) => void): Task {
    return async (thread) => {
      const range = await file.next();
      if (range !== undefined) {
        file.pending++;
        // Another thread may go on while this one's range is written.
        if (!file.isListed) this.#push(this.#rangeTask(file, end));
        const work = { space: this.#request.space, ...range };
        file.noteLost(await this.#pool.call<LostRange[]>(thread, 'restore.treeRange', work));
        file.pending--;
        file.bytes += range.pieces.reduce((sum, { length, id }) => sum + (id === undefined ? 0 : length), 0);
        this.#showProgress();
      }
      if (!file.isListed || file.pending > 0 || !this.#files.delete(file)) return;
      end(file.finish());
    };
  }

  #open(
    parent: OpenNode | undefined,
    { fd, path, metadata }: Omit<OpenNode, 'parent' | 'pending'>,
    pending = 1,
  ): OpenNode {
    const node = { parent, fd, path, metadata, pending };
    if (parent !== undefined) parent.pending++;
    this.#nodes.add(node);
    return node;
  }

  /** The last to be done with a directory sets its metadata and closes it, and then with the directory that it is in. */
  #release(node: OpenNode): void {
    for (let at: OpenNode | undefined = node; at !== undefined && --at.pending === 0; at = at.parent) {
      if (at.metadata !== undefined) this.#maker.finishDirectory(at, at.metadata);
      this.#nodes.delete(at);
      this.#maker.calls.close(at.fd);
    }
  }

  #push(task: Task): void {
    (this.#queue as RestoreQueue).push(task);
  }

  #showProgress(): void {
    let bytes = this.notes.bytes;
    for (const file of this.#files) bytes += file.bytes;
    this.#request.onProgress(bytes, this.#request.archive.sizeBytes);
  }
}
