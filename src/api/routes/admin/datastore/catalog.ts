// /admin/datastore/{store}/catalog and /pxar-file-download: what is in file trees, and single files and directories of them.
import { Readable } from 'node:stream';
import { Type } from 'typebox';
import type { CatalogRow } from '../../../../agent/download/write-rows.ts';
import type { Manifest } from '../../../../schema/manifest.ts';
import { type ByteString, fromText } from '../../../../util/byte-string.ts';
import { HoldfastError } from '../../../../util/errors.ts';
import { ByteAnswer, Bytes } from '../../../downloads/byte-answer.ts';
import { archiveOf, manifestOf, readFilePath, requirePlain } from '../../../downloads/snapshot-files.ts';
import { callerOf, defineMethod } from '../../../method.ts';
import { findSnapshot } from '../../../snapshots/owned-groups.ts';
import { FileName, OfSnapshot } from '../../parameters.ts';
import { onContent } from './rules.ts';

const mayRead = onContent(['Datastore.Read'], 'Datastore.Backup');
const Row = Type.Object({
  filepath: Type.String({ description: 'Names it in further calls: base64.' }),
  text: Type.String({ description: 'Its name; what is not UTF-8 in it is shown as \\xHH.' }),
  type: Type.String({ description: 'f file, d directory, l link, b or c device, p pipe, s socket.' }),
  leaf: Type.Boolean({ description: 'Whether nothing can be below it.' }),
  size: Type.Optional(Type.Integer({ minimum: 0 })),
  mtime: Type.Optional(Type.Integer({ description: 'Unix seconds.' })),
});
const FilePath = Type.String({
  maxLength: 4096,
  description: 'Base64 of /ARCHIVE/PATH, or with `archive-name` of /PATH; / or root for the top.',
});
const OfFile = { ...OfSnapshot, filepath: FilePath, 'archive-name': Type.Optional(FileName) };

export const CATALOG_METHODS = [
  defineMethod({
    method: 'GET',
    path: '/admin/datastore/{store}/catalog',
    description:
      'The entries of a directory of a file tree, by name; at the top the file trees of the snapshot. Not of an encrypted one.',
    access: mayRead,
    parameters: Type.Object(OfFile),
    returns: Type.Array(Row),
    handler: async (call, { filepath, 'archive-name': archiveName, ...where }) => {
      const place = readFilePath(filepath, archiveName);
      const found = await findSnapshot(call, where);
      const manifest = await manifestOf(call, found);
      requirePlain(manifest, found);
      if (place.archive === undefined) return rowsAnswer(Readable.from([Buffer.from(treesOf(manifest).join(','))]));
      const { name: archive } = archiveOf(manifest, found, place.archive);
      const wanted = { what: 'rows', path: place.path, below: place.given } as const;
      const { open, name } = found;
      const { stream, release } = await call.downloads.start({ open, name, caller: callerOf(call), archive, wanted });
      return rowsAnswer(stream, release);
    },
  }),
  defineMethod({
    method: 'GET',
    path: '/admin/datastore/{store}/pxar-file-download',
    description:
      'A file of a file tree; a directory as a tar archive with zstd, with and without `tar`. Links are not followed, special files have no content.',
    access: mayRead,
    parameters: Type.Object({
      ...OfFile,
      tar: Type.Boolean({ default: false, description: 'Of no account: there are no zip archives.' }),
    }),
    returns: Bytes,
    media: ['application/octet-stream', 'application/zstd'],
    handler: async (call, { filepath, 'archive-name': archiveName, tar: _, ...where }) => {
      const place = readFilePath(filepath, archiveName);
      const found = await findSnapshot(call, where);
      const manifest = await manifestOf(call, found);
      requirePlain(manifest, found);
      if (place.archive === undefined)
        throw new HoldfastError('bad-argument', 'name a file: base64 of /ARCHIVE/PATH; the catalog has the paths');
      const { name: archive } = archiveOf(manifest, found, place.archive);
      const { open, name } = found;
      const wanted = { what: 'entry', path: place.path } as const;
      const request = { open, name, caller: callerOf(call), archive, wanted };
      const { facts, stream, release } = await call.downloads.start(request);
      const last = place.path === '' ? fromText(archive) : (place.path.split('/').at(-1) as ByteString);
      const isTar = facts.form === 'tar.zst';
      const head = {
        type: isTar ? 'application/zstd' : 'application/octet-stream',
        lengthBytes: facts.sizeBytes,
        fileName: isTar ? (`${last}.tar.zst` as ByteString) : last,
      };
      return new ByteAnswer(stream, head, release);
    },
  }),
];

function rowsAnswer(stream: Readable, onSent?: () => void): ByteAnswer {
  return new ByteAnswer(stream, { type: 'application/json;charset=UTF-8', isRows: true }, onSent);
}

/** Rows of JSON. Disks and small files are whole files, and stand in `files`. */
function treesOf({ client }: Manifest): string[] {
  return client.archives
    .filter(({ kind }) => kind === 'tree')
    .map(({ name }) => {
      const filepath = Buffer.from(`/${name}`).toString('base64');
      return JSON.stringify({ filepath, text: name, type: 'd', leaf: false } satisfies Partial<CatalogRow>);
    });
}
