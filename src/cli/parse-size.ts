// Sizes as people write them: `500G`, `1.5TiB`, `0`. Binary units, as everything here is shown.
import { HoldfastError } from '../util/errors.ts';

const UNITS = ['', 'K', 'M', 'G', 'T', 'P'];

/** Bytes of a size; `what` names the option. @throws `bad-argument`. */
export function parseSize(text: string, what: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?$/i.exec(text.trim());
  const bytes =
    match === null
      ? Number.NaN
      : Math.round(Number(match[1]) * 1024 ** UNITS.indexOf((match[2] as string).toUpperCase()));
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new HoldfastError('bad-argument', `${what} takes a size such as 500G or 1.5T, not ${JSON.stringify(text)}`);
}
