// Decoders of what a hostile client may have written, fed with mutations of good bytes and with noise: each must answer with a value that
// keeps its promises, or with `object-damaged`. The same seed feeds the same inputs.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { eachXattr, encodeXattrs, isFileName, parseDirectory } from '../../src/chunker/directory.ts';
import { encodeList, parseList } from '../../src/chunker/list.ts';
import { Kind, type ObjectId } from '../../src/chunker/object.ts';
import { IdHasher } from '../../src/chunker/object-id.ts';
import { PageBuilder, parsePage } from '../../src/chunker/page.ts';
import { encodeRecord, openRecord, recordBound } from '../../src/chunker/record.ts';
import { readStat, STAT_BYTES, writeStat } from '../../src/chunker/stat-block.ts';
import { Compressor, Decompressor } from '../../src/chunker/zstd.ts';
import { systemCode } from '../../src/util/errors.ts';
import { anyEntries, anyXattrs, leafOf } from '../chunker/directory-samples.ts';

/** Bytes for a decoder; `refs` for those that take them. */
interface Input {
  readonly bytes: Buffer;
  readonly refs: Buffer;
}

interface Decoder {
  readonly name: string;
  readonly samples: readonly Input[];
  /** Throws `object-damaged`, or anything else for a finding. */
  decode(input: Input): void;
}

export interface FuzzReport {
  /** Inputs that a decoder took. */
  readonly taken: number;
  readonly refused: number;
  readonly findings: readonly { readonly decoder: string; readonly input: string; readonly error: string }[];
}

/** Feeds each decoder with `inputs` mutations. A finding names its bytes; at most ten are kept. */
export function fuzzDecoders(seed: number, inputs: number): FuzzReport {
  const { stackTraceLimit } = Error;
  // Stacks of millions of refusals take as long as the decoders; that of a finding is taken by decoding it once more.
  Error.stackTraceLimit = 0;
  try {
    return feed(seed, inputs, stackTraceLimit);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function feed(seed: number, inputs: number, stackTraceLimit: number): FuzzReport {
  const random = randomFrom(seed);
  const findings: FuzzReport['findings'][number][] = [];
  let taken = 0;
  let refused = 0;
  for (const decoder of decoders(seed)) {
    for (let round = 0; round < inputs && findings.length < 10; round++) {
      const sample = decoder.samples[random(decoder.samples.length)] as Input;
      const other = decoder.samples[random(decoder.samples.length)] as Input;
      // Most mutations are small, so that what lies behind the first checks is reached.
      const bytes = mutate(sample.bytes, other.bytes, random);
      const refs = random(8) === 0 ? mutate(sample.refs, other.refs, random) : sample.refs;
      try {
        decoder.decode({ bytes, refs });
        taken++;
      } catch (error) {
        refused++;
        if ((error as { code?: string }).code === 'object-damaged') continue;
        const input = `${bytes.toString('hex').slice(0, 4000)} refs ${refs.length}`;
        Error.stackTraceLimit = stackTraceLimit;
        const { stack } = failureOf(decoder, { bytes, refs }) ?? (error as Error);
        Error.stackTraceLimit = 0;
        findings.push({ decoder: decoder.name, input, error: `${systemCode(error) ?? ''} ${stack}` });
      }
    }
  }
  return { taken, refused, findings };
}

function failureOf(decoder: Decoder, input: Input): Error | undefined {
  try {
    decoder.decode(input);
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

function decoders(seed: number): Decoder[] {
  const sampled = <T>(arbitrary: fc.Arbitrary<T>): T[] => fc.sample(arbitrary, { seed, numRuns: 40 });
  const none = Buffer.alloc(0);
  const leaves = sampled(anyEntries).map((entries) => {
    const { refs, payload } = leafOf(entries);
    return { bytes: payload, refs };
  });
  const hasher = new IdHasher();
  const decompressor = new Decompressor();
  return [
    { name: 'directory', samples: leaves, decode: decodeDirectory },
    { name: 'root', samples: leaves, decode: ({ bytes, refs }) => void parseDirectory(bytes, refs, true) },
    { name: 'xattrs', samples: sampled(anyXattrs).map((bytes) => ({ bytes, refs: none })), decode: decodeXattrs },
    { name: 'stat block', samples: leaves, decode: decodeStat },
    { name: 'list', samples: lists(), decode: decodeList },
    {
      name: 'page',
      samples: pages(),
      decode: ({ bytes, refs }) => void parsePage(bytes, Math.floor(refs.length / 32)),
    },
    {
      name: 'record',
      samples: leaves.map(({ bytes, refs }) => recordOf(hasher, refs, bytes)),
      decode: ({ bytes, refs }) =>
        void openRecord(bytes, refs.length === 32 ? refs : Buffer.alloc(32), hasher, decompressor),
    },
  ];
}

/** What is taken has names that are safe, and is written again byte by byte, but for the two reserved bytes. */
function decodeDirectory({ bytes, refs }: Input): void {
  const { entries } = parseDirectory(bytes, refs);
  if (entries === undefined) return;
  for (const { name } of entries) assert.ok(isFileName(name));
  const again = leafOf(entries);
  bytes.copy(again.payload, 2, 2, 4);
  assert.ok(again.payload.equals(bytes) && again.refs.equals(refs), 'it is written otherwise');
}

function decodeXattrs({ bytes }: Input): void {
  const attributes = [...eachXattr(bytes)];
  assert.equal(encodeXattrs(attributes).length, bytes.length);
}

/** Any 68 bytes are a stat block; nanoseconds beyond a second and sizes beyond 2^53 are not written again as they were. */
function decodeStat({ bytes }: Input): void {
  if (bytes.length < STAT_BYTES) return;
  const fields = readStat(bytes.subarray(0, STAT_BYTES));
  assert.equal(typeof fields.mtimeNs, 'bigint');
  if (Number.isSafeInteger(fields.sizeBytes) && bytes.readUInt32LE(48) < 1e9 && bytes.readUInt32LE(52) < 1e9)
    assert.ok(writeStat(fields).equals(bytes.subarray(0, STAT_BYTES)), 'it is written otherwise');
}

function decodeList({ bytes, refs }: Input): void {
  const { entries } = parseList(bytes, refs);
  assert.ok(entries.length <= 1024 && entries.every(({ length }) => length > 0 && Number.isSafeInteger(length)));
}

function lists(): Input[] {
  return [0, 1, 5, 40].map((count) => {
    const entries = Array.from({ length: count }, (_, place) => ({
      length: 1000 + place,
      id: place % 3 === 2 ? undefined : (Buffer.alloc(32, place) as ObjectId),
    }));
    const { refs, payload } = encodeList({ childKind: Kind.data, height: 1, entries });
    return { bytes: payload, refs };
  });
}

function pages(): Input[] {
  return [1, 5, 60].map((count) => {
    const page = new PageBuilder();
    for (let place = 0; place < count; place++) {
      if (place % 3 === 2) page.addHole(4096);
      else page.addData(65_536, Buffer.alloc(32, place));
    }
    const { refs, payload } = page.finish();
    return { bytes: Buffer.from(payload), refs: Buffer.from(refs) };
  });
}

/** A whole record; in the place of refs its id, which is mutated seldom. */
function recordOf(hasher: IdHasher, refs: Buffer, payload: Buffer): Input {
  const id = Buffer.from(hasher.id(Kind.directory, refs, payload));
  const target = Buffer.alloc(recordBound(refs.length, payload.length));
  const length = encodeRecord(target, { kind: Kind.directory, id, refs, payload }, new Compressor(1));
  return { bytes: target.subarray(0, length), refs: id };
}

type Random = (below: number) => number;

/** Mulberry32: whole numbers below a limit. */
function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const NUMBERS = [
  0,
  1,
  2,
  31,
  32,
  255,
  256,
  1023,
  1025,
  65_535,
  65_536,
  2 ** 22,
  2 ** 24,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
];

/** One to three changes; one input in 64 is noise. */
function mutate(sample: Buffer, other: Buffer, random: Random): Buffer {
  if (random(64) === 0) return Buffer.from(Array.from({ length: random(300) }, () => random(256)));
  let bytes: Buffer = Buffer.from(sample);
  for (let changes = 1 + random(3); changes > 0; changes--) bytes = change(bytes, other, random);
  return bytes;
}

function change(bytes: Buffer, other: Buffer, random: Random): Buffer {
  const at = random(bytes.length + 1);
  const end = Math.min(bytes.length, at + 1 + random(100));
  const before = bytes.subarray(0, at);
  switch (random(8)) {
    case 0:
      if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << random(8));
      return bytes;
    case 1:
      if (at < bytes.length) bytes[at] = random(256);
      return bytes;
    case 2:
    case 3:
      if (at + 4 <= bytes.length) bytes.writeUInt32LE(NUMBERS[random(NUMBERS.length)] as number, at);
      return bytes;
    case 4:
      return before;
    case 5:
      return Buffer.concat([before, bytes.subarray(end)]);
    case 6:
      return Buffer.concat([before, bytes.subarray(at, end), bytes.subarray(at)]);
    default:
      return Buffer.concat([before, other.subarray(random(other.length + 1))]);
  }
}
