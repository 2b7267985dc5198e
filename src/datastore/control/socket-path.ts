// Where the holder of a datastore listens: in a directory that its user alone can enter. Not in the datastore itself, whose files are
// copied, by programs that stumble over a socket.
import { lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hexHash } from '../../chunker/object-id.ts';

/** Both sides come to the same path when they are the same user on the same machine. Throws when no directory is fit. */
export function controlSocketPath(root: string): string {
  const name = hexHash(Buffer.from(realpathSync(root))).slice(0, 32);
  return join(privateDirectory(), `${name}.sock`);
}

function privateDirectory(): string {
  const uid = process.getuid?.() ?? 0;
  const runtime = uid === 0 ? '/run' : process.env.XDG_RUNTIME_DIR;
  const candidates = [...(runtime === undefined ? [] : [join(runtime, 'holdfast')]), join(tmpdir(), `holdfast-${uid}`)];
  let failure: unknown;
  for (const path of candidates) {
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      const stat = lstatSync(path);
      if (stat.isDirectory() && stat.uid === uid && (stat.mode & 0o077) === 0) return path;
      failure = new Error(`${path} is open to others`);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}
