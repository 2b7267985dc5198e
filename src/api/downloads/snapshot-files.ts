// The files of a snapshot as they are asked for: a manifest, an archive by its name, a place in a file tree. What is encrypted is refused here, for the
// server has no key.
import { snapshotLabel } from '../../datastore/snapshots/group-store.ts';
import type { Archive, Manifest } from '../../schema/manifest.ts';
import type { ByteString } from '../../util/byte-string.ts';
import { HoldfastError } from '../../util/errors.ts';
import { ApiError } from '../dialect/failure.ts';
import type { Call } from '../method.ts';
import { type FoundSnapshot, noSuchSnapshot } from '../snapshots/owned-groups.ts';

/** @throws ApiError 400 when it was removed meanwhile; `manifest-altered`. */
export async function manifestOf(call: Call, { open, name }: FoundSnapshot): Promise<Manifest> {
  const manifest = await call.views.of(open.store).reader.manifest(name);
  if (manifest === undefined) throw noSuchSnapshot(name.group, name.time);
  return manifest;
}

/** @throws `not-found`. */
export function archiveOf({ client }: Manifest, { name }: FoundSnapshot, file: string): Archive {
  const archive = client.archives.find((each) => each.name === file);
  if (archive !== undefined) return archive;
  throw new HoldfastError('not-found', `${snapshotLabel(name)} has no file '${file}'`);
}

/** @throws `key-missing`. */
export function requirePlain({ client }: Manifest, { name }: FoundSnapshot): void {
  if (client.key === null) return;
  throw new HoldfastError(
    'key-missing',
    `${snapshotLabel(name)} is encrypted and the server has no key: use holdfast restore or holdfast snapshot cat with --keyfile`,
    { data: { fingerprint: client.key } },
  );
}

/** What a `filepath` names: an archive and a path in it, or with neither the list of archives. */
export interface FilePlace {
  readonly archive: string | undefined;
  readonly path: ByteString;
  /** As it was given, without slashes at its end: what stands before the names below it. */
  readonly given: ByteString;
}

/**
 * A path in base64 as Proxmox has it: `/ARCHIVE/path/to/file`, or without the archive when `archiveName` has it; `/`, `root` or nothing for the top.
 * @throws ApiError 400 for what is no base64, or climbs.
 */
export function readFilePath(text: string, archiveName: string | undefined): FilePlace {
  const bytes = text === 'root' || text === '/' ? '/' : decoded(text);
  const parts = bytes.split('/').filter((part) => part !== '');
  if (parts.some((part) => part === '.' || part === '..' || part.includes('\0')))
    throw new ApiError(
      400,
      'bad-name',
      "parameter verification failed - 'filepath': a part of it is no name of a file",
    );
  const given = parts.map((part) => `/${part}`).join('') as ByteString;
  const [first, ...rest] = parts;
  if (archiveName !== undefined) return { archive: archiveName, path: parts.join('/') as ByteString, given };
  return { archive: first, path: rest.join('/') as ByteString, given };
}

function decoded(text: string): string {
  const bytes = Buffer.from(text, 'base64');
  // Only what is written in the one right way: Node takes almost anything.
  const right = bytes.toString('base64');
  if (text !== right && text !== right.replace(/=+$/, ''))
    throw new ApiError(400, 'bad-argument', "parameter verification failed - 'filepath': it is not base64");
  return bytes.toString('latin1');
}
