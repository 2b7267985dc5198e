// The bytes of a tar archive from a file or standard input, whatever it was compressed with: its first bytes tell, not its name.
import { createReadStream } from 'node:fs';
import { createRequire } from 'node:module';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { malformedTar } from './tar-header.ts';

const READ_BYTES = 256 * 1024;
const MAGIC_BYTES = 6;

/** Compressions that tar archives come in; those without a reader are for another program. */
const COMPRESSIONS: readonly { readonly name: string; readonly magic: string; readonly program: string }[] = [
  { name: 'zstd', magic: '28b52ffd', program: 'zstd' },
  { name: 'gzip', magic: '1f8b', program: 'gzip' },
  { name: 'lzop', magic: '894c5a4f', program: 'lzop' },
  { name: 'xz', magic: 'fd377a585a00', program: 'xz' },
  { name: 'bzip2', magic: '425a68', program: 'bzip2' },
  { name: 'lz4', magic: '04224d18', program: 'lz4' },
];

/**
 * Reads `stream`, or with a path that file; an abort ends it at once.
 * @throws `not-found`, `source-failed`, `bad-argument` for a compression that is not read.
 */
export async function* openTar(source: string | Readable, signal: AbortSignal): AsyncGenerator<Buffer> {
  const path = typeof source === 'string' ? source : 'standard input';
  const stream = typeof source === 'string' ? createReadStream(source, { highWaterMark: READ_BYTES }) : source;
  // Whoever feeds a pipe may be silent for hours: an abort does not wait for the next byte.
  const stop = (): void => void stream.destroy(signal.reason as Error);
  signal.addEventListener('abort', stop, { once: true });
  try {
    signal.throwIfAborted();
    yield* decompressed(stream, path);
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof HoldfastError) throw cause;
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(cause) ?? ''))
      throw new HoldfastError('not-found', `there is no file ${path}; check the path`, { cause });
    throw new HoldfastError('source-failed', `cannot read ${path}: ${(cause as Error).message}`, { cause });
  } finally {
    signal.removeEventListener('abort', stop);
    stream.destroy();
  }
}

async function* decompressed(stream: Readable, path: string): AsyncGenerator<Buffer> {
  const chunks = (stream as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  let start = Buffer.alloc(0);
  while (start.length < MAGIC_BYTES) {
    const { value, done } = await chunks.next();
    if (done === true) break;
    start = Buffer.concat([start, value]);
  }
  const compression = COMPRESSIONS.find(({ magic }) => start.toString('hex').startsWith(magic));
  const all = whole(start, chunks);
  if (compression === undefined) yield* all;
  else if (compression.name === 'zstd') yield* unzstd(all);
  else if (compression.name === 'gzip') yield* gunzip(all);
  else
    throw new HoldfastError(
      'bad-argument',
      `${path} is compressed with ${compression.name}, which is not read; give it through: ${compression.program} -dc FILE | holdfast backup NAME.tree:tar:-`,
    );
}

async function* whole(start: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  if (start.length > 0) yield start;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}

/** One frame or many; at most 128 MiB of window, as the zstd program takes without being asked. */
async function* unzstd(chunks: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  const binding = createRequire(import.meta.url)('zstd-napi/binding.js') as typeof import('zstd-napi/binding.js');
  const context = new binding.DCtx();
  let toCome = 0;
  for await (const chunk of chunks) {
    for (let at = 0, isFull = false; at < chunk.length || isFull; ) {
      const output = Buffer.allocUnsafeSlow(READ_BYTES);
      let produced = 0;
      try {
        const [hint, made, consumed] = context.decompressStream(output, chunk.subarray(at));
        toCome = hint;
        produced = made;
        at += consumed;
      } catch (cause) {
        throw malformedTar(`its zstd compression is damaged (${(cause as Error).message})`, cause);
      }
      isFull = produced === output.length;
      if (produced > 0) yield output.subarray(0, produced);
    }
  }
  if (toCome !== 0) throw malformedTar('its zstd compression ends in the middle: it is cut off; get the whole file');
}

async function* gunzip(chunks: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  const plain = createGunzip({ chunkSize: READ_BYTES });
  let failure: unknown;
  const source = async function* (): AsyncGenerator<Buffer> {
    try {
      yield* chunks;
    } catch (error) {
      // What is wrong with the source is not wrong with the compression.
      failure = error;
      throw error;
    }
  };
  pipeline(source, plain, () => {
    // The reader below hears of the same error.
  });
  try {
    yield* plain as AsyncIterable<Buffer>;
  } catch (cause) {
    throw failure ?? malformedTar(`its gzip compression is damaged or cut off (${(cause as Error).message})`, cause);
  }
}
