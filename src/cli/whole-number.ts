// Options that take a whole number.
import { HoldfastError } from '../util/errors.ts';

/** @throws `bad-argument` for what is none, and for one out of bounds. */
export function wholeNumber(option: string, text: string, least: number, most: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new HoldfastError(
    'bad-argument',
    `${option} takes a whole number from ${least} to ${most}, not ${JSON.stringify(text)}`,
  );
}
