// Backs up a small file byte for byte as one object.
import { type FileHandle, open } from 'node:fs/promises';
import { Kind, MAX_OBJECT_BYTES } from '../../chunker/object.ts';
import type { Archive } from '../../schema/manifest.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import type { Session } from './session.ts';

/** @throws `not-found`, `source-failed` when it cannot be read, `too-large` past 16 MiB + 64 KiB. */
export async function backupBlob(
  session: Session,
  name: string,
  path: string,
): Promise<{ archive: Archive; bytesRead: number }> {
  const content = await readSmall(path);
  const root = (await session.put(Kind.blob, new Uint8Array(0), content)).toString('hex');
  return { archive: { name, kind: 'blob', sizeBytes: content.length, root }, bytesRead: content.length };
}

async function readSmall(path: string): Promise<Buffer> {
  try {
    const file = await open(path, 'r');
    try {
      return await readAtMost(file, MAX_OBJECT_BYTES, path);
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause;
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(cause) ?? ''))
      throw new HoldfastError('not-found', `there is no file ${path}; check the path`, { cause });
    throw new HoldfastError('source-failed', `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}

/** Reads to the end, whatever size the file claims: one in /proc says 0, a device or a pipe may never end. */
async function readAtMost(file: FileHandle, maxBytes: number, path: string): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of file.createReadStream({ autoClose: false })) {
    parts.push(part as Buffer);
    length += (part as Buffer).length;
    if (length > maxBytes)
      throw new HoldfastError(
        'too-large',
        `${path} has more than ${maxBytes} bytes, the most of a blob: name it .img to store it as an image`,
      );
  }
  return Buffer.concat(parts);
}
