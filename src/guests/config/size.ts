// Sizes as Proxmox writes them into configurations: powers of 1024, the largest unit that divides exactly.
import { HoldfastError } from '../../util/errors.ts';

const UNITS = ['', 'K', 'M', 'G', 'T'] as const;

/**
 * Reads `32G`, `1.5T`, `4608K`, `512MiB` or plain bytes; a part of a byte is cut off.
 * @throws `bad-argument`; the message does not name the option, its reader does.
 */
export function parseSize(text: string): number {
  const [, digits, unit = ''] = /^(\d{1,16}(?:\.\d{1,16})?)([KMGT])?(?:iB)?$/.exec(text) ?? [];
  const bytes = Math.floor(Number(digits) * 1024 ** UNITS.indexOf(unit as (typeof UNITS)[number]));
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new HoldfastError('bad-argument', `'${text}' is no size: write a number and K, M, G or T, such as 32G`);
}

/** `34359738368` as `32G`; what no unit divides as plain bytes. */
export function printSize(bytes: number): string {
  let unit = 0;
  let rest = bytes;
  while (rest > 0 && rest % 1024 === 0 && unit < UNITS.length - 1) {
    rest /= 1024;
    unit += 1;
  }
  return `${rest}${UNITS[unit]}`;
}
