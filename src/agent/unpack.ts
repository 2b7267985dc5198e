// The bytes of a file or of standard input, whatever they were compressed with: the first bytes tell, not the name. Streams: holds a few
// chunks of 256 KiB, and of zstd its window.
import { type ChildProcess, spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { createRequire } from 'node:module';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { asUsual } from '../util/child-priority.ts';
import { HoldfastError, systemCode } from '../util/errors.ts';
import { toolMissing } from '../util/run.ts';

const READ_BYTES = 256 * 1024;
const MAGIC_BYTES = 6;
/** Of what lzop says on its standard error. */
const ERROR_BYTES = 4096;

/** Compressions that archives come in; those without a reader are for another program. */
const COMPRESSIONS: readonly { readonly name: string; readonly magic: RegExp; readonly program: string }[] = [
  // A zstd file may begin with a frame to skip.
  { name: 'zstd', magic: /^(28b52ffd|5.2a4d18)/, program: 'zstd' },
  { name: 'gzip', magic: /^1f8b/, program: 'gzip' },
  { name: 'lzop', magic: /^894c5a4f/, program: 'lzop' },
  { name: 'xz', magic: /^fd377a585a00/, program: 'xz' },
  { name: 'bzip2', magic: /^425a68/, program: 'bzip2' },
  { name: 'lz4', magic: /^04224d18/, program: 'lz4' },
];

export interface Unpacking {
  /** The error for a compression that is damaged or cut off. */
  readonly damaged: (why: string, cause?: unknown) => HoldfastError;
  /** What takes standard input, for the advice to pipe what is not read here: `holdfast ...`. */
  readonly command: string;
  /** A chunk is used up before the next one is asked for, and may lie in the same memory. */
  readonly reuse?: boolean;
}

/**
 * Reads `source`, a path or a stream; an abort ends it at once.
 * @throws `not-found`, `source-failed`, `tool-missing` (lzop), `bad-argument` for a compression that is not read, and `damaged`.
 */
export async function* unpack(
  source: string | Readable,
  signal: AbortSignal,
  unpacking: Unpacking,
): AsyncGenerator<Buffer> {
  const path = typeof source === 'string' ? source : 'standard input';
  const stream = typeof source === 'string' ? createReadStream(source, { highWaterMark: READ_BYTES }) : source;
  // Whoever feeds a pipe may be silent for hours: an abort does not wait for the next byte.
  const stop = (): void => void stream.destroy(signal.reason as Error);
  signal.addEventListener('abort', stop, { once: true });
  try {
    signal.throwIfAborted();
    yield* decompressed(stream, path, unpacking);
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

async function* decompressed(stream: Readable, path: string, unpacking: Unpacking): AsyncGenerator<Buffer> {
  const chunks = (stream as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  let start = Buffer.alloc(0);
  while (start.length < MAGIC_BYTES) {
    const { value, done } = await chunks.next();
    if (done === true) break;
    start = Buffer.concat([start, value]);
  }
  const compression = COMPRESSIONS.find(({ magic }) => magic.test(start.toString('hex', 0, MAGIC_BYTES)));
  const all = whole(start, chunks);
  if (compression === undefined) yield* all;
  else if (compression.name === 'zstd') yield* unzstd(all, unpacking);
  else if (compression.name === 'gzip') yield* gunzip(all, unpacking);
  else if (compression.name === 'lzop') yield* unlzop(all, unpacking);
  else
    throw new HoldfastError(
      'bad-argument',
      `${path} is compressed with ${compression.name}, which is not read; give it through: ${compression.program} -dc FILE | ${unpacking.command}`,
    );
}

async function* whole(start: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  if (start.length > 0) yield start;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}

/** One frame or many; at most 128 MiB of window, as the zstd program takes without being asked. */
async function* unzstd(chunks: AsyncGenerator<Buffer>, { damaged, reuse }: Unpacking): AsyncGenerator<Buffer> {
  const binding = createRequire(import.meta.url)('zstd-napi/binding.js') as typeof import('zstd-napi/binding.js');
  const context = new binding.DCtx();
  const shared = reuse ? Buffer.allocUnsafeSlow(READ_BYTES) : undefined;
  let toCome = 0;
  for await (const chunk of chunks) {
    for (let at = 0, isFull = false; at < chunk.length || isFull; ) {
      const output = shared ?? Buffer.allocUnsafeSlow(READ_BYTES);
      let produced = 0;
      try {
        const [hint, made, consumed] = context.decompressStream(output, chunk.subarray(at));
        toCome = hint;
        produced = made;
        at += consumed;
      } catch (cause) {
        throw damaged(`its zstd compression is damaged (${(cause as Error).message})`, cause);
      }
      isFull = produced === output.length;
      if (produced > 0) yield output.subarray(0, produced);
    }
  }
  if (toCome !== 0) throw damaged('its zstd compression ends in the middle: it is cut off; get the whole file');
}

/** One member or many. */
async function* gunzip(chunks: AsyncGenerator<Buffer>, { damaged }: Unpacking): AsyncGenerator<Buffer> {
  const plain = createGunzip({ chunkSize: READ_BYTES });
  const source = remembering(chunks);
  pipeline(source.chunks, plain, () => {
    // The reader below hears of the same error.
  });
  try {
    yield* plain as AsyncIterable<Buffer>;
  } catch (cause) {
    throw (
      source.failure() ?? damaged(`its gzip compression is damaged or cut off (${(cause as Error).message})`, cause)
    );
  }
}

/** Debian's program does it: LZO1X has no reader in Node. */
async function* unlzop(chunks: AsyncGenerator<Buffer>, { damaged }: Unpacking): AsyncGenerator<Buffer> {
  const env = { ...process.env, LC_ALL: 'C' };
  const child = asUsual(spawn('lzop', ['-dc'], { stdio: ['pipe', 'pipe', 'pipe'], env }));
  const ended = endOf(child);
  const source = remembering(chunks);
  pipeline(Readable.from(source.chunks, { objectMode: false, highWaterMark: READ_BYTES }), child.stdin, () => {
    // A program that ends early says why below.
  });
  try {
    // A pipe that breaks because the program ended, or never began, says less than how it ended.
    let broken: unknown;
    try {
      yield* child.stdout as AsyncIterable<Buffer>;
    } catch (error) {
      child.kill('SIGKILL');
      broken = error;
    }
    const { status, words } = await ended;
    const failure = source.failure();
    if (failure !== undefined) throw failure;
    if (status !== 0 || broken !== undefined)
      throw damaged(`its lzop compression is damaged or cut off (${words})`, broken);
  } finally {
    child.kill('SIGKILL');
    // One that could not be started has been told above.
    await ended.catch(() => undefined);
  }
}

function endOf(child: ChildProcess): Promise<{ status: number | null; words: string }> {
  let words = '';
  child.stderr?.on('data', (data: Buffer) => {
    if (words.length < ERROR_BYTES) words += data.toString();
  });
  const ended = new Promise<{ status: number | null; words: string }>((resolve, reject) => {
    child.once('error', (error) => reject(systemCode(error) === 'ENOENT' ? toolMissing('lzop', error) : error));
    child.once('close', (status) => resolve({ status, words: words.trim() }));
  });
  // Whoever reads hears of it, or has gone.
  ended.catch(() => undefined);
  return ended;
}

/** What is wrong with the source is not wrong with the compression. */
function remembering(chunks: AsyncGenerator<Buffer>): { chunks: AsyncGenerator<Buffer>; failure(): unknown } {
  let failure: unknown;
  const passed = async function* (): AsyncGenerator<Buffer> {
    try {
      yield* chunks;
    } catch (error) {
      failure = error;
      throw error;
    }
  };
  return { chunks: passed(), failure: () => failure };
}
