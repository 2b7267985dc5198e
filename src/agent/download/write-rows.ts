// The entries of a directory as rows of JSON, in the words of Proxmox's catalogue. Holds one leaf of the directory and some KiB of text.
import type { DirectoryEntry } from '../../chunker/directory.ts';
import { Content } from '../../chunker/directory.ts';
import { type ByteString, toBytes } from '../../util/byte-string.ts';
import { jsonPath } from '../../util/shown-path.ts';
import { writeBytes } from '../tree/browse/cat-file.ts';
import { describeEntry } from '../tree/browse/describe-entry.ts';
import { directoryOf, type GetObject, readEntries } from '../tree/read-tree.ts';
import type { DownloadTools } from './download.ts';

/** One entry; `filepath` is its path in base64, which names it in further calls. */
export interface CatalogRow {
  readonly filepath: string;
  /** Its name; what is not UTF-8 in it is shown as \xHH. */
  readonly text: string;
  /** A letter of find's `-type`. */
  readonly type: string;
  /** Whether it holds no entries. */
  readonly leaf: boolean;
  /** Of a regular file. */
  readonly size?: number;
  /** Unix seconds. */
  readonly mtime: number;
}

const TEXT_CHARS = 64 * 1024;

/** Rows with a comma between two. `below` is the path of the directory as callers name it. */
export async function writeRows(
  get: GetObject,
  directory: DirectoryEntry,
  below: ByteString,
  { outlet: output, signal }: Pick<DownloadTools, 'outlet' | 'signal'>,
): Promise<void> {
  if (directory.content !== Content.directory) return;
  let text = '';
  let isFirst = true;
  for await (const entry of readEntries(get, directoryOf(directory))) {
    text += `${isFirst ? '' : ','}${JSON.stringify(rowOf(entry, below))}`;
    isFirst = false;
    if (text.length < TEXT_CHARS) continue;
    await writeBytes({ output, signal }, Buffer.from(text));
    text = '';
  }
  await writeBytes({ output, signal }, Buffer.from(text));
}

function rowOf(entry: DirectoryEntry, below: ByteString): CatalogRow {
  const { type, sizeBytes, mtimeNs } = describeEntry(entry);
  return {
    filepath: toBytes(`${below}/${entry.name}` as ByteString).toString('base64'),
    text: jsonPath('text', entry.name).text as string,
    type,
    leaf: type !== 'd',
    ...(type === 'f' ? { size: sizeBytes } : {}),
    mtime: Number(mtimeNs >= 0n ? mtimeNs / 1_000_000_000n : (mtimeNs - 999_999_999n) / 1_000_000_000n),
  };
}
