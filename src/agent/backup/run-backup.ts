// A backup, as a list of steps: open the sources, open a session, store each archive, commit, read one chunk per disk back.
import { setMaxListeners } from 'node:events';
import type { Readable } from 'node:stream';
import { cutRecord, diskCutParameters } from '../../chunker/cut-parameters.ts';
import type { DataKey } from '../../chunker/data-key.ts';
import type { Archive, ClientPart, RecoveryRecord, Statistics } from '../../schema/manifest.ts';
import type { ArchiveKind } from '../../schema/names.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { Remembered } from '../keys/last-snapshots.ts';
import { signClientPart } from '../keys/manifest-signature.ts';
import { openDiskSource } from '../sources/open-source.ts';
import { joinRanges } from '../sources/ranges.ts';
import type { DiskSource, Range } from '../sources/source.ts';
import { backupTar } from '../tar/backup-tar.ts';
import { backupTree, DEFAULT_TREE_OPTIONS, type TreeOptions } from '../tree/backup/backup-tree.ts';
import { backupBlob } from './blob-backup.ts';
import type { ChangeMap } from './change-map.ts';
import { backupImage, ChangeMapLie } from './image-backup.ts';
import { readBackOne } from './read-back.ts';
import type { Base, Committed, Session } from './session.ts';
import { backupStream } from './stream-backup.ts';
import { trustedBases } from './trusted-bases.ts';

/** One archive to store: `path` is `-` for standard input. */
export interface ArchiveSpec {
  readonly name: string;
  readonly kind: ArchiveKind;
  readonly path: string;
  /** Opens a disk that no path leads to; `path` then only names it. */
  readonly open?: ((signal: AbortSignal) => Promise<DiskSource>) | undefined;
}

/** Path of the tar archive that a tree comes from, `-` for standard input; undefined for any other source. */
export function tarPath(spec: ArchiveSpec): string | undefined {
  return spec.kind === 'tree' && spec.path.startsWith('tar:') ? spec.path.slice('tar:'.length) : undefined;
}

/** Whether it comes from standard input, which can be read once. */
export function isFromStdin(spec: ArchiveSpec): boolean {
  return spec.path === '-' || tarPath(spec) === '-';
}

export interface BackupRequest {
  readonly group: string;
  readonly archives: readonly ArchiveSpec[];
  readonly changeMap: ChangeMap | undefined;
  /** How file trees are read; as `DEFAULT_TREE_OPTIONS` when it is missing. */
  readonly tree?: TreeOptions;
  /** The data key for the recovery key, which the snapshot carries. */
  readonly recovery?: RecoveryRecord | undefined;
  /** The last snapshot of the group that this client made with the key. */
  readonly last?: Remembered | undefined;
  /** Label that the user asked for, in Unix seconds. */
  readonly time: number | undefined;
  readonly averageBytes: number;
  /** Encrypts the snapshot; the session that is opened has the same. */
  readonly key: DataKey | undefined;
  readonly stdin: Readable;
  readonly signal: AbortSignal;
  readonly onProgress: (archive: string, bytesDone: number, bytesTotal: number | undefined) => void;
  readonly warn: (message: string) => void;
}

export interface BackupResult {
  readonly committed: Committed;
  readonly statistics: Statistics;
  /** Objects that an unfinished earlier backup of this group had stored already. */
  readonly objectsAdopted: number;
}

/**
 * Runs a backup. On any failure no snapshot is visible, and what was stored stays for a retry.
 * `openSession` is called once all sources are open, so that a missing disk costs nothing.
 */
export async function runBackup(
  request: BackupRequest,
  pool: WorkerPool,
  openSession: () => Promise<Session>,
): Promise<BackupResult> {
  const started = performance.now();
  const disks = await openDisks(request);
  try {
    const session = await openSession();
    try {
      const work = { ...request, bases: trustedBases(session.bases, request) };
      const stored = await storeArchives(work, pool, session, disks);
      const committed = await commit(work, pool, session, disks, stored, started);
      await readBackOne(pool, committed.manifest);
      return { committed, statistics: committed.manifest.client.statistics, objectsAdopted: session.adoptedObjects };
    } catch (error) {
      // What went wrong first is what to say: a session whose pack failed cannot be suspended without an error either.
      await session.suspend().catch(() => undefined);
      // Ctrl-C on a terminal reaches the program that serves a disk too: its end is not the reason then.
      request.signal.throwIfAborted();
      throw error;
    }
  } finally {
    for (const disk of disks.values()) await disk.close();
  }
}

/** A request with the bases of its session that it may build on. */
interface Work extends BackupRequest {
  readonly bases: readonly Base[];
}

async function openDisks(request: BackupRequest): Promise<Map<string, DiskSource>> {
  const disks = new Map<string, DiskSource>();
  // Each listens for as long as it is open, and a guest may have dozens: Node would warn of a leak.
  setMaxListeners(0, request.signal);
  try {
    for (const spec of request.archives) {
      if (spec.kind === 'image' && spec.path !== '-') disks.set(spec.name, await openDisk(spec, request.signal));
    }
    return disks;
  } catch (error) {
    for (const disk of disks.values()) await disk.close();
    throw error;
  }
}

async function openDisk({ path, open }: ArchiveSpec, signal: AbortSignal): Promise<DiskSource> {
  return await (open === undefined ? openDiskSource(path, { signal }) : open(signal));
}

interface Stored {
  readonly archives: Archive[];
  bytesRead: number;
  bytesSampled: number;
}

async function storeArchives(
  request: Work,
  pool: WorkerPool,
  session: Session,
  disks: ReadonlyMap<string, DiskSource>,
): Promise<Stored> {
  const stored: Stored = { archives: [], bytesRead: 0, bytesSampled: 0 };
  for (const spec of request.archives) {
    request.signal.throwIfAborted();
    const result = await storeArchive(request, pool, session, spec, disks.get(spec.name));
    stored.archives.push(result.archive);
    stored.bytesRead += result.bytesRead;
    stored.bytesSampled += result.bytesSampled ?? 0;
  }
  return stored;
}

async function storeArchive(
  request: Work,
  pool: WorkerPool,
  session: Session,
  spec: ArchiveSpec,
  disk: DiskSource | undefined,
): Promise<{ archive: Archive; bytesRead: number; bytesSampled?: number }> {
  const { averageBytes, signal } = request;
  const cutSeed = request.key?.cutSeed;
  if (spec.kind === 'blob') return await backupBlob(session, spec.name, spec.path);
  const tar = tarPath(spec);
  if (tar !== undefined) return await storeTar(request, pool, session, spec.name, tar);
  if (spec.kind === 'tree') return await storeTree(request, pool, session, spec);
  const onProgress = (bytesDone: number): void => request.onProgress(spec.name, bytesDone, disk?.sizeBytes);
  if (disk === undefined)
    return await backupStream(pool, session, {
      name: spec.name,
      stream: request.stdin,
      averageBytes,
      cutSeed,
      onProgress,
      signal,
    });
  const likely = session.isFar ? likelyBase(request, spec.name) : undefined;
  const work = { name: spec.name, source: disk, averageBytes, cutSeed, likely, onProgress, signal };
  const incremental =
    request.changeMap === undefined ? undefined : incrementalOf(request, request.changeMap, request.bases, spec.name);
  try {
    return await backupImage(pool, session, { ...work, incremental });
  } catch (error) {
    if (error instanceof ChangeMapLie)
      request.warn(`${spec.name}: ${error.message}; the change map is wrong, so the whole disk is read`);
    else if (incremental !== undefined && isLost(error))
      request.warn(`${spec.name}: ${error.message}; the whole disk is read, which heals it`);
    else throw error;
    return await backupImage(pool, session, { ...work, incremental: undefined });
  }
}

async function storeTar(
  request: BackupRequest,
  pool: WorkerPool,
  session: Session,
  name: string,
  path: string,
): Promise<{ archive: Archive; bytesRead: number }> {
  const { averageBytes, key, signal, warn } = request;
  const source = path === '-' ? request.stdin : path;
  const onProgress = (bytesDone: number): void => request.onProgress(name, bytesDone, undefined);
  return await backupTar(pool, session, {
    name,
    source,
    averageBytes,
    cutSeed: key?.cutSeed,
    onProgress,
    warn,
    signal,
  });
}

async function storeTree(
  request: BackupRequest,
  pool: WorkerPool,
  session: Session,
  { name, path }: ArchiveSpec,
): Promise<{ archive: Archive; bytesRead: number }> {
  const { averageBytes, key, tree: options = DEFAULT_TREE_OPTIONS, signal, warn } = request;
  const onProgress = (bytesDone: number): void => request.onProgress(name, bytesDone, undefined);
  const work = { name, path, options, averageBytes, cutSeed: key?.cutSeed, onProgress, warn, signal };
  return await backupTree(pool, session, work);
}

/** Whether an object of the base has no good copy left; one that was found bad meanwhile is no longer in scope. */
function isLost(error: unknown): error is HoldfastError {
  return error instanceof HoldfastError && ['object-damaged', 'object-missing', 'out-of-scope'].includes(error.code);
}

/** What of the base may be taken over; undefined, with a warning, when the disk has to be read in full. */
function incrementalOf(
  request: BackupRequest,
  map: ChangeMap,
  bases: readonly Base[],
  name: string,
): { base: Archive; changed: readonly Range[] } | undefined {
  const changed = map.disks.get(name);
  const base = bases.find((candidate) => candidate.name === map.base);
  const archive = base?.archives.find((candidate) => candidate.name === name);
  if (changed === undefined && map.isExplained === true) return undefined;
  let why: string | undefined;
  if (changed === undefined) why = 'the change map does not name this disk';
  else if (base === undefined) why = `${map.base} is not one of the group's newest two snapshots`;
  else if (archive?.kind !== 'image') why = `${map.base} has no image ${name}`;
  else if (!isCutAlike(archive, request)) why = `${map.base} was cut with other parameters`;
  if (why !== undefined) {
    request.warn(`${name}: read in full, for ${why}`);
    return undefined;
  }
  const damaged = (base as Base).damaged.filter((range) => range.archive === name);
  return { base: archive as Archive, changed: joinRanges([...(changed as readonly Range[]), ...damaged]) };
}

/** The same image in the base that is preferred. */
function likelyBase(request: Work, name: string): Archive | undefined {
  const archive = request.bases[0]?.archives.find((candidate) => candidate.name === name);
  return archive?.kind === 'image' && isCutAlike(archive, request) ? archive : undefined;
}

function isCutAlike({ chunker }: Archive, { averageBytes, key }: BackupRequest): boolean {
  return canonicalJson(chunker) === canonicalJson(cutRecord(diskCutParameters(averageBytes, key?.cutSeed)));
}

/** Commits; when something that was reused turned out damaged meanwhile, reads the disks in full, once, and commits again. */
async function commit(
  request: Work,
  pool: WorkerPool,
  session: Session,
  disks: ReadonlyMap<string, DiskSource>,
  stored: Stored,
  started: number,
): Promise<Committed> {
  try {
    return await session.commit(await clientPart(request, session, stored, started), request.time, request.signal);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'object-damaged') throw error;
    // Standard input was read and is gone: only the caller can send it again.
    if (request.archives.some(isFromStdin)) throw error;
    request.warn(`${error.message}: everything is read in full`);
    const full = {
      ...request,
      changeMap: undefined,
      tree: { ...DEFAULT_TREE_OPTIONS, ...request.tree, changeDetection: 'data' as const },
    };
    const again = await storeArchives(full, pool, session, disks);
    again.bytesRead += stored.bytesRead;
    again.bytesSampled += stored.bytesSampled;
    return await session.commit(await clientPart(request, session, again, started), request.time, request.signal);
  }
}

/** What a client says of a snapshot whose archives are stored, signed when there is a key. `started`: by `performance.now`. */
export async function clientPart(
  request: Pick<Work, 'group' | 'bases' | 'changeMap' | 'time' | 'key' | 'recovery'>,
  session: Session,
  stored: Stored,
  started: number,
): Promise<ClientPart> {
  const { objectsNew, objectsReused, bytesNew } = await session.counters();
  const bytesLogical = stored.archives.reduce((sum, archive) => sum + archive.sizeBytes, 0);
  const base = request.bases.find((candidate) => candidate.name === request.changeMap?.base) ?? request.bases[0];
  const part: ClientPart = {
    backup: request.group,
    clientTime: new Date().toISOString(),
    archives: stored.archives,
    base: base === undefined ? null : { snapshot: base.name, sequence: base.sequence },
    key: request.key?.fingerprint ?? null,
    statistics: {
      bytesLogical,
      bytesRead: stored.bytesRead,
      bytesSampled: stored.bytesSampled,
      bytesNew,
      objectsNew,
      objectsReused,
      durationMs: Math.round(performance.now() - started),
    },
  };
  if (request.key === undefined) return part;
  const { time: askedTime, recovery } = request;
  const more = { ...(askedTime !== undefined && { askedTime }), ...(recovery !== undefined && { recovery }) };
  return signClientPart({ ...part, ...more }, request.key);
}
