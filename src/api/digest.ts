// The digest that stands beside a list or an entry of a configuration, and the refusal of a change that was made from an old one.
import { createHash } from 'node:crypto';
import { canonicalJson } from '../util/canonical-json.ts';
import { ApiError } from './dialect/failure.ts';

export function digestOf(configuration: unknown): string {
  return createHash('sha256').update(canonicalJson(configuration)).digest('hex');
}

/** @throws ApiError 400 when `given` is not the digest of what is there. */
export function requireUnchanged(given: string | undefined, configuration: unknown): void {
  if (given === undefined || given === digestOf(configuration)) return;
  throw new ApiError(400, 'bad-argument', 'detected modified configuration - file changed by other user? Try again.');
}
