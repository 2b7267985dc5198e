// After a backup: one random chunk of each disk and tree is read back through the real restore path. A backup that cannot be read is none.
import { Content, parseDirectory } from '../../chunker/directory.ts';
import { parseList } from '../../chunker/list.ts';
import { ID_BYTES, Kind, type ObjectId, parseId, type StoredObject } from '../../chunker/object.ts';
import { parsePage } from '../../chunker/page.ts';
import type { Manifest } from '../../schema/manifest.ts';
import { formatTime } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { RestoreWork } from '../restore/restore-work.ts';
import { directPieces } from '../tree/file-content.ts';

/** Holes have nothing to read: so many tries to hit a chunk before the disk counts as empty. */
const TRIES = 8;

/**
 * @throws `object-damaged` or `object-missing` when a chunk does not come back; what kept it from being read, such as `server-unreachable`,
 * when that says nothing of the chunk.
 */
export async function readBackOne(pool: WorkerPool, manifest: Manifest): Promise<void> {
  const { space } = manifest.server;
  for (const archive of manifest.client.archives) {
    if (archive.kind === 'blob' || archive.kind === 'tree') continue;
    try {
      for (let attempt = 0; attempt < TRIES; attempt++) {
        const chunk = await randomChunk(parseId(archive.root) as ObjectId, (id) =>
          pool.call<StoredObject>(0, 'store.read', { space, id }),
        );
        if (chunk === undefined) continue;
        const work: RestoreWork = {
          space,
          offset: 0,
          length: chunk.length,
          page: undefined,
          pieces: [chunk],
          target: undefined,
          zeroLost: false,
        };
        await pool.call(0, 'restore.range', work);
        break;
      }
    } catch (cause) {
      if (!(cause instanceof HoldfastError)) throw cause;
      throw notReadBack(manifest, archive.name, cause);
    }
  }
}

function notReadBack({ client, server }: Manifest, archive: string, cause: HoldfastError): HoldfastError {
  const label = `${client.backup}/${formatTime(server.time)}`;
  const isDamage = cause.code === 'object-damaged' || cause.code === 'object-missing';
  const what = isDamage
    ? `but a chunk of ${archive} does not read back: ${cause.message}; check the disk and back up again`
    : `but it could not be tried whether ${archive} reads back, which says nothing against it: ${cause.message}`;
  return new HoldfastError(cause.code, `snapshot ${label} was made, ${what}`, { cause });
}

/** Descends from a root by random choices; undefined where a hole was hit. */
async function randomChunk(
  root: ObjectId,
  get: (id: ObjectId) => Promise<StoredObject>,
): Promise<{ length: number; id: Uint8Array } | undefined> {
  for (let id = root; ; ) {
    const object = await get(id);
    if (object.kind === Kind.page) {
      const piece = pick(parsePage(object.payload, object.refs.length / ID_BYTES));
      if (piece === undefined || piece.ref < 0) return undefined;
      return { length: piece.length, id: object.refs.subarray(piece.ref * ID_BYTES, (piece.ref + 1) * ID_BYTES) };
    }
    if (object.kind === Kind.directory) {
      const next = randomChild(object, id === root);
      if (next === undefined || 'length' in next) return next;
      id = next.id;
      continue;
    }
    const list = parseList(object.payload, object.refs);
    const entry = pick(list.entries);
    if (entry?.id === undefined) return undefined;
    if (list.childKind === Kind.data) return { length: entry.length, id: entry.id };
    id = entry.id;
  }
}

/** One of what a directory object names: another object to descend into, or a chunk of a file; undefined where there is none. */
function randomChild(
  { payload, refs }: StoredObject,
  isRoot: boolean,
): { id: ObjectId } | { length: number; id: Uint8Array } | undefined {
  const { entries, parts } = parseDirectory(payload, refs, isRoot);
  if (parts !== undefined) return pick(parts);
  const entry = pick(entries.filter((candidate) => candidate.refs.length > 0));
  if (entry === undefined) return undefined;
  if (entry.content !== Content.pieces) return { id: Buffer.from(entry.refs) as ObjectId };
  const piece = pick((directPieces(entry) ?? []).filter((candidate) => candidate.id !== undefined));
  return piece?.id === undefined ? undefined : { length: piece.length, id: piece.id };
}

function pick<Item>(items: readonly Item[]): Item | undefined {
  return items[Math.floor(Math.random() * items.length)];
}
