// Backs up a small file byte for byte as one object.
import { open } from 'node:fs/promises';
import { Kind, MAX_OBJECT_BYTES } from '../../chunker/object.ts';
import type { Archive } from '../../schema/manifest.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { Session } from './session.ts';

/** @throws `source-failed` when it cannot be read, `too-large` past 16 MiB + 64 KiB. */
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
      const { size } = await file.stat();
      if (size > MAX_OBJECT_BYTES)
        throw new HoldfastError(
          'too-large',
          `${path} has ${size} bytes; a blob takes at most ${MAX_OBJECT_BYTES}: name it .img to store it as an image`,
        );
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause;
    throw new HoldfastError('source-failed', `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}
