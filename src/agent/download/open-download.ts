// From what is wanted of an archive to what comes and who makes it, in a worker thread: with the code of restore, `cat` and tar export, on this one thread.

import { getSystemErrorName } from 'node:util';
import type { DirectoryEntry } from '../../chunker/directory.ts';
import type { ObjectId } from '../../chunker/object.ts';
import { parseId } from '../../chunker/object.ts';
import type { Archive } from '../../schema/manifest.ts';
import type { ByteString } from '../../util/byte-string.ts';
import { HoldfastError } from '../../util/errors.ts';
import { shownPath } from '../../util/shown-path.ts';
import type { Threads } from '../../util/worker-pool.ts';
import type { ObjectFetcher } from '../object-sink.ts';
import type { RestoredRange, RestoreWork } from '../restore/restore-work.ts';
import { restoreToPipe, type Span } from '../restore/run-restore.ts';
import { catFile } from '../tree/browse/cat-file.ts';
import { describeEntry } from '../tree/browse/describe-entry.ts';
import { findPath, type GetObject } from '../tree/read-tree.ts';
import type { DownloadTools, Producer } from './download.ts';
import type { DownloadFacts, DownloadWork } from './download-work.ts';
import { writeRows } from './write-rows.ts';

/** Of a link's target in an error. */
const SHOWN_CHARS = 256;

export interface OpenedDownload {
  readonly facts: DownloadFacts;
  readonly produce: Producer;
}

/** This thread's way to the objects of the archive's space, and its part in restores. */
export interface DownloadObjects {
  readonly fetcher: ObjectFetcher;
  restore(work: RestoreWork): RestoredRange;
}

/** @throws `not-found`, `bad-argument` for what has no content or no entries, `object-missing`, `object-damaged`, `key-missing`. */
export async function openDownload(
  { archive, space, wanted }: DownloadWork,
  objects: DownloadObjects,
): Promise<OpenedDownload> {
  const place = { archive, space, objects };
  if (wanted.what === 'archive') return openArchive(place, wanted.span);
  if (archive.kind !== 'tree')
    throw new HoldfastError('bad-argument', `${archive.name} is no file tree: download it as a whole`);
  const root = parseId(archive.root) as ObjectId;
  const entry = await findPath(async (id) => objects.fetcher.get(id), root, wanted.path);
  if (wanted.what === 'entry') return openEntry(place, entry, wanted.path);
  if (describeEntry(entry).type !== 'd') throw refused(wanted.path, 'no directory, so it has no entries');
  requireReadable(entry, wanted.path);
  return {
    facts: { form: 'rows', sizeBytes: undefined },
    produce: (tools) => writeRows(gatedGet(place, tools), entry, wanted.below, tools),
  };
}

interface Place {
  readonly archive: Archive;
  readonly space: number;
  readonly objects: DownloadObjects;
}

function openArchive(place: Place, span: Span | undefined): OpenedDownload {
  const { archive, space } = place;
  if (archive.kind === 'tree') return openTar(place, '' as ByteString, false);
  return {
    facts: { form: 'bytes', sizeBytes: span === undefined ? archive.sizeBytes : span.end - span.start },
    produce: async (tools) => {
      const { outlet: stdout, signal } = tools;
      const get = gatedGet(place, tools);
      const request = { archive, space, span, zeroLost: false, stdout, signal, onProgress: () => {} };
      await restoreToPipe(request, oneThread(place, tools), (_, id) => get(id));
    },
  };
}

function openEntry(place: Place, entry: DirectoryEntry, path: ByteString): OpenedDownload {
  const { type, target, sizeBytes } = describeEntry(entry);
  requireReadable(entry, path);
  if (type === 'd') return openTar(place, path, true);
  if (target !== undefined)
    throw refused(
      path,
      `a symbolic link to ${shownPath(target.slice(0, SHOWN_CHARS) as ByteString)}, which is not followed`,
    );
  if (type !== 'f') throw refused(path, 'no regular file, and has no content');
  return {
    facts: { form: 'bytes', sizeBytes },
    produce: async (tools) => {
      const { outlet: output, signal } = tools;
      await catFile({ entry, space: place.space, output, signal }, gatedGet(place, tools), async () =>
        oneThread(place, tools),
      );
    },
  };
}

/** Sockets, and what could not be read for the backup, are left out. */
function openTar(place: Place, path: ByteString, zstd: boolean): OpenedDownload {
  const { archive, space } = place;
  return {
    facts: { form: zstd ? 'tar.zst' : 'tar', sizeBytes: undefined },
    produce: async (tools) => {
      // Loaded with the first that wants it: threads of commands that never do start without it.
      const [{ exportTar }, { TarOutput }] = await Promise.all([
        import('../tar/export-tar.ts'),
        import('../tar/tar-output.ts'),
      ]);
      const { outlet: stdout, signal } = tools;
      const output = await TarOutput.open({ target: '-', overwrite: false, zstd, stdout, signal });
      const get = gatedGet(place, tools);
      const quiet = { onProgress: () => {}, warn: () => {} };
      try {
        await exportTar(oneThread(place, tools), (_, id) => get(id), {
          root: archive.root,
          space,
          path,
          output,
          signal,
          ...quiet,
        });
        await output.finish();
      } catch (error) {
        await output.discard();
        throw error;
      }
    },
  };
}

function gatedGet({ objects }: Place, { gate }: DownloadTools): GetObject {
  return async (id) => {
    await gate.pass();
    return objects.fetcher.get(id);
  };
}

/** This thread in the place of a pool: the memory that a restore borrows is its own until the call ends. */
function oneThread({ objects }: Place, { gate }: DownloadTools): Threads {
  return {
    size: 1,
    call: async <Result>(_thread: number, method: string, work: unknown): Promise<Result> => {
      if (method !== 'restore.range') throw new Error(`a download does not call ${method}`);
      await gate.pass();
      return objects.restore(work as RestoreWork) as Result;
    },
  };
}

function requireReadable(entry: DirectoryEntry, path: ByteString): void {
  const { errno } = describeEntry(entry);
  if (errno === 0) return;
  const name = getSystemErrorName(-errno);
  throw new HoldfastError(
    'not-found',
    `${shownName(path)} has no content here: it could not be read for the backup (${name})`,
  );
}

function refused(path: ByteString, what: string): HoldfastError {
  return new HoldfastError('bad-argument', `${shownName(path)} is ${what}`);
}

function shownName(path: ByteString): string {
  return path === '' ? 'the top of the tree' : `/${shownPath(path)}`;
}
