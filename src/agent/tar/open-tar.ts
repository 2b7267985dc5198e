// The bytes of a tar archive from a file or standard input.
import type { Readable } from 'node:stream';
import { unpack } from '../unpack.ts';
import { malformedTar } from './tar-header.ts';

/** Reads `source`, a path or a stream, until its end or an abort. @throws what `unpack` does; `source-failed` for a damaged compression. */
export function openTar(source: string | Readable, signal: AbortSignal): AsyncGenerator<Buffer> {
  return unpack(source, signal, { damaged: malformedTar, command: 'holdfast backup NAME.tree:tar:-' });
}
