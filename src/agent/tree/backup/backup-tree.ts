// Backs up one file tree: directories go to the worker threads, those found last first; each becomes an object once all below it are. What did
// not change since the base snapshot is not read.
import { cutRecord, streamCutParameters } from '../../../chunker/cut-parameters.ts';
import { Content, LeafBuilder } from '../../../chunker/directory.ts';
import { Kind, type ObjectId, parseId } from '../../../chunker/object.ts';
import type { Archive } from '../../../schema/manifest.ts';
import { type ByteString, display } from '../../../util/byte-string.ts';
import { canonicalJson } from '../../../util/canonical-json.ts';
import { HoldfastError } from '../../../util/errors.ts';
import type { WorkerPool } from '../../../util/worker-pool.ts';
import type { Base, Session } from '../../backup/session.ts';
import { depthFirst } from '../../depth-first.ts';
import { errnoName } from '../file-calls.ts';
import type { IdMapJson } from '../ids/id-map.ts';
import { readRoot } from '../read-tree.ts';
import type { ExcludeRulesJson } from '../select/exclude.ts';
import { TreeWarnings } from '../tree-warnings.ts';
import type { DirectoryResult, DirectoryWork, TreeCounts, TreeSettings, TreeWarning } from './directory-work.ts';
import { OpenDirectory, type Put } from './open-directory.ts';
import type { TopDirectory } from './tree-thread.ts';

/** Calls that each thread has waiting, so that it does not stand still while the main thread thinks. */
const CALLS_PER_THREAD = 2;

/** How a tree is read; what the user may choose. */
export interface TreeOptions {
  readonly exclude: ExcludeRulesJson | undefined;
  /** `metadata`: files whose metadata is that of the base are not read. `data`: every file is read. */
  readonly changeDetection: 'metadata' | 'data';
  /** Paths whose file systems belong to the archive besides that of the top; undefined: all file systems. */
  readonly includeDev: readonly string[] | undefined;
  readonly idMap: IdMapJson | undefined;
}

/** Everything on the file system of the top, read where its metadata changed. */
export const DEFAULT_TREE_OPTIONS: TreeOptions = {
  exclude: undefined,
  changeDetection: 'metadata',
  includeDev: [],
  idMap: undefined,
};

export interface TreeWork {
  readonly name: string;
  readonly path: string;
  readonly options: TreeOptions;
  readonly averageBytes: number;
  /** Undefined for the public one. */
  readonly cutSeed: string | undefined;
  readonly onProgress: (bytesDone: number) => void;
  readonly warn: (message: string) => void;
  readonly signal: AbortSignal;
}

interface Job {
  readonly directory: OpenDirectory;
  readonly slice: number;
  readonly names: Uint8Array | undefined;
}

/** @throws `source-failed` when the top cannot be read. */
export async function backupTree(
  pool: WorkerPool,
  session: Session,
  work: TreeWork,
): Promise<{ archive: Archive; bytesRead: number }> {
  const { name, path, options } = work;
  const cut = streamCutParameters(work.averageBytes, work.cutSeed);
  const base = await baseOf(session, work, cutRecord(cut));
  const top = await pool.call<TopDirectory>(0, 'tree.look', { path, idMap: options.idMap });
  const settings: TreeSettings = {
    path,
    trustsMetadata: base !== undefined,
    devices: await devicesOf(pool, top, options),
    idMap: options.idMap,
  };
  await pool.all('tree.open', { settings, cut });
  const walk = new TreeWalk(pool, session, work);
  try {
    const directory = await walk.run(OpenDirectory.top(top.identity, base, options.exclude));
    const root = await storeRoot(session, top, directory);
    const { counts } = walk;
    const warnings = walk.warnings.finish();
    const archive = {
      name,
      kind: 'tree' as const,
      sizeBytes: counts.bytesLogical,
      root: Buffer.from(root).toString('hex'),
      chunker: cutRecord(cut),
      entries: counts.entries + 1,
    };
    return { archive: warnings === undefined ? archive : { ...archive, warnings }, bytesRead: counts.bytesRead };
  } finally {
    await pool.all('tree.close', undefined);
  }
}

/** The devices that belong to the archive; undefined: all. */
async function devicesOf(pool: WorkerPool, top: TopDirectory, options: TreeOptions): Promise<number[] | undefined> {
  if (options.includeDev === undefined) return undefined;
  const devices = [top.device];
  for (const path of options.includeDev)
    devices.push((await pool.call<TopDirectory>(0, 'tree.look', { path, idMap: undefined })).device);
  return devices;
}

/** The object of the root: one entry without a name, for the top directory. */
async function storeRoot(session: Session, top: TopDirectory, directory: Uint8Array): Promise<ObjectId> {
  const leaf = new LeafBuilder();
  leaf.add({
    name: '' as ByteString,
    content: Content.directory,
    marks: 0,
    errno: 0,
    stat: top.stat,
    xattrs: top.xattrs,
    contentBytes: new Uint8Array(0),
    refs: directory,
  });
  const { refs, payload } = leaf.finish();
  return await session.put(Kind.directory, refs, payload);
}

/** The top directory's object in the base snapshot when its metadata can be trusted; else every file is read, and why is said. */
async function baseOf(session: Session, work: TreeWork, cut: unknown): Promise<Uint8Array | undefined> {
  if (work.options.changeDetection === 'data') return undefined;
  const [snapshot] = session.bases;
  const archive = snapshot?.archives.find((candidate) => candidate.name === work.name);
  if (snapshot === undefined || archive === undefined) return undefined;
  const why = whyUnusable(snapshot, archive, cut);
  if (why === undefined) {
    try {
      return (await readRoot((id) => session.get(id), parseId(archive.root) as ObjectId)).refs;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      work.warn(`${work.name}: every file is read, for ${snapshot.name} has damage: ${error.message}`);
      return undefined;
    }
  }
  work.warn(`${work.name}: every file is read, for ${why}`);
  return undefined;
}

function whyUnusable(snapshot: Base, archive: Archive, cut: unknown): string | undefined {
  if (archive.kind !== 'tree') return `${archive.name} of ${snapshot.name} is no tree`;
  if (canonicalJson(archive.chunker) !== canonicalJson(cut)) return `${snapshot.name} was cut with other parameters`;
  if (snapshot.damaged.some((range) => range.archive === archive.name))
    return `${snapshot.name} is damaged, which reading heals`;
  const { clientTime } = snapshot.manifest.client;
  if (Date.parse(clientTime) > Date.now()) return `the clock went back: ${snapshot.name} was made at ${clientTime}`;
  return undefined;
}

/** One walk over a tree. */
class TreeWalk {
  readonly counts: TreeCounts = { entries: 0, bytesLogical: 0, bytesRead: 0, filesRead: 0 };
  readonly warnings: TreeWarnings;
  readonly #pool: WorkerPool;
  readonly #session: Session;
  readonly #work: TreeWork;
  #top: Uint8Array | undefined;

  constructor(pool: WorkerPool, session: Session, work: TreeWork) {
    this.#pool = pool;
    this.#session = session;
    this.#work = work;
    this.warnings = new TreeWarnings((message) => work.warn(`${work.name}: ${message}`));
  }

  /** The object of the top directory. */
  async run(top: OpenDirectory): Promise<Uint8Array> {
    const seed: Job = { directory: top, slice: 0, names: undefined };
    await depthFirst(this.#pool.size * CALLS_PER_THREAD, [seed], (job, lane) => this.#step(job, lane));
    return this.#top as Uint8Array;
  }

  async #step({ directory, slice, names }: Job, lane: number): Promise<Job[]> {
    this.#work.signal.throwIfAborted();
    const thread = lane % this.#pool.size;
    const put: Put = (kind, refs, payload) =>
      this.#pool.call<Uint8Array>(thread, 'store.put', { session: this.#session.id, kind, refs, payload });
    if (names === undefined && directory.isLoop) {
      this.#warn({ path: directory.path, text: 'is not entered: it is mounted inside itself' });
      await this.#settle(directory, { errno: ELOOP }, put);
      return [];
    }
    const { path, base, rules } = directory;
    const request: DirectoryWork = { session: this.#session.id, path, names, base, rules };
    const result = await this.#pool.call<DirectoryResult>(thread, 'tree.directory', request);
    if (result.kind === 'failed') {
      if (path === '') throw cannotRead(this.#work.path, result.errno);
      this.#warn({ path, text: `cannot be read (${errnoName(result.errno)}); what is in it is not in the snapshot` });
      await this.#settle(directory, { errno: result.errno }, put);
      return [];
    }
    for (const warning of result.warnings) this.#warn(warning);
    directory.rules = result.rules;
    if (result.kind === 'sliced') {
      directory.expectSlices(result.slices.length);
      return result.slices.map((part, place) => ({ directory, slice: place, names: part })).reverse();
    }
    this.#count(result.counts);
    const children = directory.take(slice, result.parts);
    if (directory.isComplete) await this.#settle(directory, await directory.store(put), put);
    return children.map((child) => ({ directory: child, slice: 0, names: undefined })).reverse();
  }

  async #settle(directory: OpenDirectory, outcome: { id: Uint8Array } | { errno: number }, put: Put): Promise<void> {
    const top = await directory.settle(outcome, put);
    if (top !== undefined && 'id' in top) this.#top = top.id;
  }

  #count(counts: TreeCounts): void {
    this.counts.entries += counts.entries;
    this.counts.bytesLogical += counts.bytesLogical;
    this.counts.bytesRead += counts.bytesRead;
    this.counts.filesRead += counts.filesRead;
    this.#work.onProgress(this.counts.bytesLogical);
  }

  #warn({ path, text }: TreeWarning): void {
    this.warnings.add(`${path === '' ? 'the top' : display(path)} ${text}`);
  }
}

const ELOOP = 40;

function cannotRead(path: string, errno: number): HoldfastError {
  return new HoldfastError('source-failed', `${path} cannot be read: ${errnoName(errno)}`);
}
