// Patterns of names as the shell has them: * any characters, ? one, [a-z] one of a set, [!a-z] one that is not in it, \ takes the next as it
// is. A star passes a slash too, as in find(1). Matching takes at most pattern times name steps, whatever the pattern.
import { HoldfastError } from '../../../util/errors.ts';

type Token =
  | { readonly kind: 'star' | 'any' }
  | { readonly kind: 'set'; readonly isInverted: boolean; readonly ranges: readonly (readonly [string, string])[] }
  | { readonly kind: 'character'; readonly character: string };

/** Most characters of a pattern. */
const MAX_PATTERN = 4096;

/** A test for names, in characters (code points). @throws `bad-argument` for a pattern that is too long. */
export function compileGlob(pattern: string): (name: string) => boolean {
  const tokens = parse([...pattern]);
  if (tokens.length > MAX_PATTERN)
    throw new HoldfastError('bad-argument', `a pattern has at most ${MAX_PATTERN} characters, not ${tokens.length}`);
  return (name) => matches(tokens, [...name]);
}

function parse(characters: readonly string[]): Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at] as string;
    const set = character === '[' ? parseSet(characters, at) : undefined;
    if (character === '*') tokens.push({ kind: 'star' });
    else if (character === '?') tokens.push({ kind: 'any' });
    else if (set !== undefined) {
      tokens.push(set.token);
      at = set.end;
    } else if (character === '\\' && at + 1 < characters.length)
      tokens.push({ kind: 'character', character: characters[++at] as string });
    else tokens.push({ kind: 'character', character });
  }
  return tokens;
}

/** A set that begins at `start`; undefined when it has no end, and the bracket means itself. */
function parseSet(characters: readonly string[], start: number): { token: Token; end: number } | undefined {
  let at = start + 1;
  const isInverted = characters[at] === '!' || characters[at] === '^';
  if (isInverted) at++;
  const first = at;
  const ranges: [string, string][] = [];
  for (; at < characters.length; at++) {
    // A closing bracket that comes first means itself.
    if (characters[at] === ']' && at > first) return { token: { kind: 'set', isInverted, ranges }, end: at };
    if (characters[at] === '\\' && at + 1 < characters.length) at++;
    const from = characters[at] as string;
    const isRange = characters[at + 1] === '-' && characters[at + 2] !== undefined && characters[at + 2] !== ']';
    ranges.push([from, isRange ? (characters[at + 2] as string) : from]);
    if (isRange) at += 2;
  }
  return undefined;
}

function matches(tokens: readonly Token[], name: readonly string[]): boolean {
  let token = 0;
  let at = 0;
  /** The last star, and what it has taken so far ends here. */
  let star = -1;
  let taken = 0;
  while (at < name.length) {
    const wanted = tokens[token];
    if (wanted?.kind === 'star') {
      star = token++;
      taken = at;
    } else if (wanted !== undefined && takes(wanted, name[at] as string)) {
      token++;
      at++;
    } else if (star >= 0) {
      token = star + 1;
      at = ++taken;
    } else return false;
  }
  while (tokens[token]?.kind === 'star') token++;
  return token === tokens.length;
}

function takes(token: Token, character: string): boolean {
  if (token.kind === 'character') return token.character === character;
  if (token.kind !== 'set') return true;
  const code = character.codePointAt(0) as number;
  const isIn = token.ranges.some(
    ([from, to]) => (from.codePointAt(0) as number) <= code && code <= (to.codePointAt(0) as number),
  );
  return isIn !== token.isInverted;
}
