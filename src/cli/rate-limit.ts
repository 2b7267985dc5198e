// Options that take MiB a second.
import { HoldfastError } from '../util/errors.ts';

/** Bytes a second from MiB a second; null without the option. @throws `bad-argument`. */
export function parseRateLimit(text: string | undefined, option = '--rate-limit'): number | null {
  if (text === undefined) return null;
  const mib = Number(text);
  if (!(mib > 0) || mib > 1e6)
    throw new HoldfastError('bad-argument', `${option} takes MiB a second, above 0, not ${JSON.stringify(text)}`);
  return mib * 1024 * 1024;
}
