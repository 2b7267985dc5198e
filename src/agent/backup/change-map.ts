// A change map: what changed on which disk since a base snapshot, as a file that somebody else wrote. Checked, sorted, joined.
import { readFile, stat } from 'node:fs/promises';
import { Type } from 'typebox';
import { HoldfastError } from '../../util/errors.ts';
import { JsonShapeError, parseJson } from '../../util/json-file.ts';
import { joinRanges } from '../sources/ranges.ts';
import type { Range } from '../sources/source.ts';

const MAX_FILE_BYTES = 512 * 1024 * 1024;
const Bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const ChangeMapFile = Type.Object({
  base: Type.String(),
  disks: Type.Record(Type.String(), Type.Array(Type.Object({ offset: Bytes, length: Bytes }))),
});

export interface ChangeMap {
  /** `TYPE/ID/TIME`. */
  readonly base: string;
  /** Per archive name, ascending ranges that do not touch. A disk without an entry is read in full. */
  readonly disks: ReadonlyMap<string, readonly Range[]>;
  /** Whoever made it has told already why a disk has no entry. */
  readonly isExplained?: boolean;
}

/** @throws `bad-change-map` when the file is missing or malformed. */
export async function readChangeMap(path: string): Promise<ChangeMap> {
  let text: string;
  try {
    if ((await stat(path)).size > MAX_FILE_BYTES)
      throw new HoldfastError('bad-change-map', `${path} is over ${MAX_FILE_BYTES} bytes; join its extents`);
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause;
    throw new HoldfastError('bad-change-map', `cannot read the change map ${path}: ${(cause as Error).message}`, {
      cause,
    });
  }
  try {
    const file = parseJson(text, ChangeMapFile);
    return {
      base: file.base,
      disks: new Map(Object.entries(file.disks).map(([name, extents]) => [name, joinRanges(extents)])),
    };
  } catch (cause) {
    if (!(cause instanceof JsonShapeError)) throw cause;
    throw new HoldfastError(
      'bad-change-map',
      `${path} is not a change map: ${cause.message}; it looks like {"base":"vm/101/2026-11-20T02:00:00Z","disks":{"disk0.img":[{"offset":0,"length":65536}]}}`,
      { cause },
    );
  }
}
