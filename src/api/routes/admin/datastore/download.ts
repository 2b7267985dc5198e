// /admin/datastore/{store}/download and /download-decoded: the files of a snapshot as `files` lists them, each as it was given for the backup.
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { Type } from 'typebox';
import { textOfBlob } from '../../../../datastore/snapshots/client-log.ts';
import { withoutSizes } from '../../../../datastore/snapshots/find-snapshot.ts';
import { fromText } from '../../../../util/byte-string.ts';
import { systemCode } from '../../../../util/errors.ts';
import { ByteAnswer, Bytes } from '../../../downloads/byte-answer.ts';
import { spanOf } from '../../../downloads/byte-range.ts';
import { archiveOf, manifestOf, requirePlain } from '../../../downloads/snapshot-files.ts';
import { type Call, callerOf, defineMethod } from '../../../method.ts';
import { type FoundSnapshot, findSnapshot } from '../../../snapshots/owned-groups.ts';
import { CLIENT_LOG_NAME, MANIFEST_NAME } from '../../../snapshots/snapshot-row.ts';
import { FileName, OfSnapshot } from '../../parameters.ts';
import { onContent } from './rules.ts';

const TYPES = { bytes: 'application/octet-stream', tar: 'application/x-tar' } as const;

function downloadMethod(name: 'download' | 'download-decoded', description: string) {
  return defineMethod({
    method: 'GET',
    path: `/admin/datastore/{store}/${name}`,
    description,
    access: onContent(['Datastore.Read'], 'Datastore.Backup'),
    parameters: Type.Object({ ...OfSnapshot, 'file-name': FileName }),
    returns: Bytes,
    media: ['application/octet-stream', 'application/x-tar', 'application/json', 'text/plain'],
    handler: async (call, { 'file-name': file, ...where }) => {
      const found = await findSnapshot(call, where);
      if (file === MANIFEST_NAME) return await manifestAnswer(call, found);
      const log = file === CLIENT_LOG_NAME ? await logAnswer(found, name === 'download-decoded') : undefined;
      return log ?? (await archiveAnswer(call, found, file));
    },
  });
}

export const DOWNLOAD_METHODS = [
  downloadMethod(
    'download',
    'A file of a snapshot: a disk as raw bytes (ranges of it with `Range`), a file tree as tar, the manifest as JSON. Encrypted ones the server cannot give out.',
  ),
  downloadMethod(
    'download-decoded',
    'The same as download, but for the log of the client: its text, and not the blob that holds it.',
  ),
];

async function archiveAnswer(call: Call, found: FoundSnapshot, file: string): Promise<ByteAnswer> {
  const manifest = await manifestOf(call, found);
  const { kind, sizeBytes, root, name: archive } = archiveOf(manifest, found, file);
  requirePlain(manifest, found);
  const version = `"${root}"`;
  const isTree = kind === 'tree';
  const span = isTree ? undefined : spanIn(call, sizeBytes, version);
  const { open, name } = found;
  const wanted = { what: 'archive', span } as const;
  const { facts, stream, release } = await call.downloads.start({
    open,
    name,
    caller: callerOf(call),
    archive,
    wanted,
  });
  const head = {
    status: span === undefined ? 200 : 206,
    type: TYPES[isTree ? 'tar' : 'bytes'],
    lengthBytes: facts.sizeBytes,
    fileName: fromText(isTree ? `${archive}.tar` : archive),
    headers: {
      ...(isTree ? {} : { 'accept-ranges': 'bytes', etag: version }),
      ...(span === undefined ? {} : { 'content-range': `bytes ${span.start}-${span.end - 1}/${sizeBytes}` }),
    },
  };
  return new ByteAnswer(stream, head, release);
}

function spanIn(call: Call, sizeBytes: number, version: string) {
  const headers = { range: call.requestHeader('range'), ifRange: call.requestHeader('if-range') };
  try {
    return spanOf(headers, sizeBytes, version);
  } catch (error) {
    call.header('content-range', `bytes */${sizeBytes}`);
    throw error;
  }
}

/** Undefined where there is none. */
async function logAnswer({ open, name }: FoundSnapshot, asText: boolean): Promise<ByteAnswer | undefined> {
  let blob: Buffer;
  try {
    blob = await readFile(open.store.groups.clientLogPath(name));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  const bytes = asText ? textOfBlob(blob) : blob;
  return new ByteAnswer(Readable.from([bytes]), {
    type: asText ? 'text/plain;charset=UTF-8' : TYPES.bytes,
    lengthBytes: bytes.length,
    fileName: fromText(asText ? 'client.log' : CLIENT_LOG_NAME),
  });
}

/** As it is stored; for owners without what its session really took on disk. */
async function manifestAnswer(call: Call, found: FoundSnapshot): Promise<ByteAnswer> {
  const manifest = await manifestOf(call, found);
  const bytes = call.onlyOwn
    ? Buffer.from(JSON.stringify(withoutSizes(manifest)))
    : await readFile(found.open.store.groups.manifestPath(found.name));
  return new ByteAnswer(Readable.from([bytes]), {
    type: 'application/json',
    lengthBytes: bytes.length,
    fileName: fromText(MANIFEST_NAME),
  });
}
