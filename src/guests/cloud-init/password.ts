// Passwords for guests, hashed once when they are set and kept so: a new salt at each start would make cloud-init apply everything again.
import { HoldfastError } from '../../util/errors.ts';
import { run } from '../../util/run.ts';

/** Whether a guest's `login` takes it for a hash: yescrypt, SHA-512, SHA-256, bcrypt, MD5. */
export function isHashedPassword(password: string): boolean {
  return /^\$(y|[156]|2[abxy])\$[^\s:]+\$?[^\s:]*$/.test(password);
}

/** SHA-512 crypt. The password goes through a pipe, never into an argument. @throws `bad-argument`, `tool-missing`, `timed-out`, `aborted`. */
export async function hashPassword(password: string, signal?: AbortSignal): Promise<string> {
  // openssl reads one line of it, and would hash less than was said.
  if (password === '' || /[\0\r\n]/.test(password) || Buffer.byteLength(password) > MAX_PASSWORD_BYTES)
    throw new HoldfastError(
      'bad-argument',
      `a password for cloud-init has 1 to ${MAX_PASSWORD_BYTES} bytes in one line`,
    );
  const input = `${password}\n`;
  return (await run('openssl', ['passwd', '-6', '-stdin'], { signal, input, failure: 'guest-failed' })).stdout.trim();
}

/** What openssl hashes of a line; more it would cut off. */
const MAX_PASSWORD_BYTES = 255;
