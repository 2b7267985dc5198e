// Entries of a tree on standard output, as they are found: rows, paths alone, or an object of JSON whose entries stand a line each.
import { sizeOfEntry } from '../agent/tree/browse/describe-entry.ts';
import type { FoundEntry } from '../agent/tree/browse/walk-tree.ts';
import type { ByteString } from '../util/byte-string.ts';
import { HoldfastError } from '../util/errors.ts';
import { formatBytes } from '../util/format-bytes.ts';
import { shownPath } from '../util/shown-path.ts';
import type { OutputFormat } from './output.ts';
import { warn } from './repository.ts';
import { StreamOutput } from './stream-output.ts';
import { jsonRow, ROW_HEADER, textRow } from './tree-row.ts';

/** Lost directories that are named one by one. */
const SHOWN_LOST = 1000;

export interface EntryListOptions {
  readonly format: OutputFormat;
  /** Rows rather than paths alone; JSON always has all. */
  readonly isLong: boolean;
  /** Entries to show at most. */
  readonly limit: number;
  readonly signal: AbortSignal;
}

/** Members of the JSON before its entries. */
export type ListHead = Readonly<Record<string, unknown>>;

/** Directories that could not be read: each is a warning at once, and all of them an error at the end. */
export class LostDirectories {
  #count = 0;

  readonly note = (path: ByteString, error: Error): void => {
    this.#count++;
    const name = path === '' ? 'the top directory' : `directory ${shownPath(path)}`;
    if (this.#count <= SHOWN_LOST) warn(`${name}: what is in it, or part of it, is lost: ${error.message}`);
  };

  /** @throws `object-damaged` when there are any. */
  refuse(): void {
    if (this.#count === 0) return;
    throw new HoldfastError(
      'object-damaged',
      `${this.#count} directories could not be read in full, and what is in them is not shown; holdfast datastore verify names all damage`,
      { data: { directories: this.#count } },
    );
  }
}

/** Writes the entries that `test` takes, until `limit`. */
export async function writeEntries(
  head: ListHead,
  batches: AsyncIterable<readonly FoundEntry[]>,
  test: (found: FoundEntry) => boolean,
  { format, isLong, limit, signal }: EntryListOptions,
): Promise<void> {
  const isText = format === 'text';
  const output = new StreamOutput(signal);
  if (!isText) output.add(`${JSON.stringify(head).slice(0, -1)},"entries":[`);
  else if (isLong) output.add(`${ROW_HEADER}\n`);
  let count = 0;
  let bytes = 0;
  let isCut = false;
  for await (const batch of batches) {
    for (const found of batch) {
      if (!test(found)) continue;
      isCut = count >= limit;
      if (isCut) break;
      if (!isText) output.add(`${count === 0 ? '' : ','}\n${JSON.stringify(jsonRow(found))}`);
      else output.add(`${isLong ? textRow(found) : found.path === '' ? '.' : shownPath(found.path)}\n`);
      count++;
      bytes += sizeOfEntry(found.entry);
    }
    await output.pass();
    signal.throwIfAborted();
    if (isCut) break;
  }
  if (!isText) output.add(`\n],"count":${count},"bytes":${bytes},"limited":${isCut}}\n`);
  else if (isLong) output.add(`${count} entries, ${formatBytes(bytes)} in regular files\n`);
  await output.flush();
  if (isCut) warn(`only the first ${limit} entries are shown; --limit says how many`);
}
