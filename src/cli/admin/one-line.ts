// A secret from a file of one line, or from standard input.
import { readFile } from 'node:fs/promises';
import { HoldfastError } from '../../util/errors.ts';

const MAX_FILE_BYTES = 4096;

/** `what` names the secret, `file` is a path or `-`. @throws `bad-argument` when it has not one line, `not-found` without the file. */
export async function oneLine(option: string, what: string, file: string): Promise<string> {
  // Editors and `echo` put an end of line there.
  const line = (await textOf(option, file)).replace(/\r?\n$/, '');
  if (line !== '' && !/[\r\n]/.test(line) && Buffer.byteLength(line) <= MAX_FILE_BYTES) return line;
  const from = file === '-' ? 'standard input' : file;
  throw new HoldfastError('bad-argument', `${from} must hold one line, ${what}, of at most ${MAX_FILE_BYTES} bytes`);
}

async function textOf(option: string, file: string): Promise<string> {
  if (file === '-') return await standardInput();
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new HoldfastError('not-found', `${option} ${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

async function standardInput(): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of process.stdin) {
    parts.push(part as Buffer);
    length += (part as Buffer).length;
    // What follows is refused for its length.
    if (length > MAX_FILE_BYTES) break;
  }
  return Buffer.concat(parts).toString('utf8');
}
