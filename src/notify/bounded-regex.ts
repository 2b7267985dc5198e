// Regular expressions that somebody else writes: one that takes too long is stopped, so that no matcher can stand still for all others.
import { createContext, Script } from 'node:vm';
import { HoldfastError } from '../util/errors.ts';

export const MAX_PATTERN_LENGTH = 256;
/** A pattern that is sound takes microseconds for the 1024 characters that a field has at most. */
const TIMEOUT_MS = 50;

/** @throws `bad-argument`. */
export function parsePattern(text: string): RegExp {
  try {
    if (text.length > MAX_PATTERN_LENGTH) throw new Error(`it takes at most ${MAX_PATTERN_LENGTH} characters`);
    return new RegExp(text);
  } catch (error) {
    throw new HoldfastError(
      'bad-argument',
      `${JSON.stringify(text.slice(0, 100))} is no regular expression: ${(error as Error).message}`,
    );
  }
}

/** Whether it is found somewhere in the text. @throws `timed-out` when that takes longer than 50 ms. */
export function matchesWithin(pattern: RegExp, text: string): boolean {
  const context = createContext({ pattern, text });
  try {
    return new Script('pattern.test(text)').runInContext(context, { timeout: TIMEOUT_MS }) as boolean;
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw cause;
    throw new HoldfastError(
      'timed-out',
      `the regular expression ${pattern.source} takes too long; write a simpler one`,
      {
        cause,
      },
    );
  }
}
