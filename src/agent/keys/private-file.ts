// Files that only their owner may read: keys, and what a client remembers. A new one never takes the place of another file; a change
// of one that is there is wholly done or not at all.
import { randomBytes } from 'node:crypto';
import { link, open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from '../../util/atomic-file.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';

/** Writes a new file of mode 0600; durable when this returns. `what` names it in messages. @throws `exists`, `target-failed`. */
export async function createPrivateFile(path: string, text: string, what: string): Promise<void> {
  await publish(path, text, what, async (temporary) => {
    // A link refuses a name that is taken, which a rename does not.
    await link(temporary, path);
    await unlink(temporary);
  });
}

/** Puts a new content in the place of a file, mode 0600. @throws `target-failed`. */
export async function replacePrivateFile(path: string, text: string, what: string): Promise<void> {
  await publish(path, text, what, async (temporary) => await rename(temporary, path));
}

async function publish(
  path: string,
  text: string,
  what: string,
  show: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = `${path}.${randomBytes(8).toString('hex')}.tmp`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await show(temporary);
    await syncDirectory(dirname(path));
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    if (systemCode(error) === 'EEXIST')
      throw new HoldfastError('exists', `${path} is there already and stays as it is: give the ${what} another name`);
    if (systemCode(error) === undefined) throw error;
    throw new HoldfastError(
      'target-failed',
      `the ${what} cannot be written to ${path}: ${(error as Error).message}; name a directory that is there and may be written to`,
      { cause: error },
    );
  }
}
