// The maps of sparse files in the four forms that GNU tar has written: in the header itself (oldgnu), in pax records (0.0 and 0.1), or before the
// data (1.0).
import type { ByteReader } from './byte-reader.ts';
import { cutOff } from './byte-reader.ts';
import type { PaxRecords } from './pax.ts';
import { parsePaxNumber } from './pax.ts';
import { BLOCK_BYTES, malformedTar, padding, tarNumber } from './tar-header.ts';
import { type Extent, MAX_EXTENTS, storedBytes } from './tar-member.ts';

export interface SparseMap {
  /** Size of the file with its holes. */
  readonly sizeBytes: number;
  readonly extents: readonly Extent[];
  /** Bytes of the member's data that the map itself took. */
  readonly mapBytes: number;
}

/** Of a member of type S: the map begins in its header and goes on in blocks behind it. @throws `source-failed`. */
export async function oldGnuMap(header: Buffer, reader: ByteReader): Promise<SparseMap> {
  const extents: Extent[] = [];
  const take = (block: Buffer, at: number, count: number): void => {
    for (let place = 0; place < count; place++, at += 24)
      if (block[at + 12] !== 0)
        addExtent(extents, { offset: tarNumber(block, at, 12), length: tarNumber(block, at + 12, 12) });
  };
  take(header, 386, 4);
  for (let goesOn = header[482] !== 0; goesOn; ) {
    const block = await reader.read(BLOCK_BYTES);
    if (block === undefined) throw cutOff();
    take(block, 0, 21);
    goesOn = block[504] !== 0;
  }
  return checked(extents, tarNumber(header, 483, 12), 0);
}

/**
 * Of a regular member with GNU.sparse records; undefined when it has none. Reads the map where it stands before the data.
 * @throws `source-failed`.
 */
export async function paxMap(
  records: PaxRecords,
  storedBytes: number,
  reader: ByteReader,
): Promise<SparseMap | undefined> {
  const value = (key: string): Buffer | undefined => records.findLast(([each]) => each === `GNU.sparse.${key}`)?.[1];
  const major = value('major')?.toString('latin1');
  if (major !== undefined && (major !== '1' || value('minor')?.toString('latin1') !== '0'))
    throw malformedTar(
      `it has a sparse file of form ${major}.${value('minor')?.toString('latin1')}, which is not known`,
    );
  const size = value('realsize') ?? value('size');
  if (size === undefined) {
    if (major !== undefined || value('map') !== undefined) throw malformedTar('a sparse file has no size');
    return undefined;
  }
  const sizeBytes = parsePaxNumber(size);
  if (major === '1') return await mapBeforeData(sizeBytes, storedBytes, reader);
  const map = value('map')?.toString('latin1');
  if (map !== undefined)
    return checked(pairs(map === '' ? [] : map.split(',').map((part) => Buffer.from(part, 'latin1'))), sizeBytes, 0);
  return checked(repeated(records), sizeBytes, 0);
}

/** Form 0.0: records of offset and numbytes in turn. */
function repeated(records: PaxRecords): Extent[] {
  const numbers: Buffer[] = [];
  for (const [key, value] of records) {
    if (key === 'GNU.sparse.offset' && numbers.length % 2 === 0) numbers.push(value);
    else if (key === 'GNU.sparse.numbytes' && numbers.length % 2 === 1) numbers.push(value);
    else if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes')
      throw malformedTar('the map of a sparse file is damaged');
  }
  return pairs(numbers);
}

/** Form 1.0: the number of extents, then offset and length of each, a line each, filled up to a block. */
async function mapBeforeData(sizeBytes: number, storedBytes: number, reader: ByteReader): Promise<SparseMap> {
  let mapBytes = 0;
  let rest = '';
  const line = async (): Promise<number> => {
    for (;;) {
      const end = rest.indexOf('\n');
      if (end > 20 || (end < 0 && rest.length > 20)) throw malformedTar('the map of a sparse file is damaged');
      if (end >= 0) {
        const number = parsePaxNumber(Buffer.from(rest.slice(0, end), 'latin1'));
        rest = rest.slice(end + 1);
        return number;
      }
      if (mapBytes + BLOCK_BYTES > storedBytes + padding(storedBytes))
        throw malformedTar('the map of a sparse file is damaged');
      const block = await reader.read(BLOCK_BYTES);
      if (block === undefined) throw cutOff();
      mapBytes += BLOCK_BYTES;
      rest += block.toString('latin1');
    }
  };
  const extents: Extent[] = [];
  for (let left = await line(); left > 0; left--) addExtent(extents, { offset: await line(), length: await line() });
  return checked(extents, sizeBytes, mapBytes);
}

function pairs(numbers: readonly Buffer[]): Extent[] {
  if (numbers.length % 2 !== 0) throw malformedTar('the map of a sparse file is damaged');
  const extents: Extent[] = [];
  for (let at = 0; at < numbers.length; at += 2)
    addExtent(extents, {
      offset: parsePaxNumber(numbers[at] as Buffer),
      length: parsePaxNumber(numbers[at + 1] as Buffer),
    });
  return extents;
}

function addExtent(extents: Extent[], extent: Extent): void {
  if (extents.length === MAX_EXTENTS) throw malformedTar(`a sparse file has more than ${MAX_EXTENTS} extents`);
  extents.push(extent);
}

/** Extents rise, do not overlap and end within the file; the empty one that marks the end is left out. */
function checked(extents: readonly Extent[], sizeBytes: number, mapBytes: number): SparseMap {
  let end = 0;
  for (const { offset, length } of extents) {
    if (offset < end || length < 0 || offset + length > sizeBytes)
      throw malformedTar('the map of a sparse file is damaged');
    end = offset + length;
  }
  const kept = extents.filter(({ length }) => length > 0);
  if (sizeBytes < 0 || storedBytes(kept, sizeBytes) > sizeBytes)
    throw malformedTar('the map of a sparse file is damaged');
  return { sizeBytes, extents: kept, mapBytes };
}
