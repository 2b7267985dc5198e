// One pattern for paths, in the syntax of .gitignore, matched byte by byte: what a backup leaves out, and what a restore takes. It may come from a
// file inside a container, so matching costs at most pattern times path: sets and stars are tables and two indices, never a regular expression.
import type { ByteString } from '../../../util/byte-string.ts';

/** Most bytes of a pattern: no path that could match a longer one can be opened. */
export const MAX_PATTERN_BYTES = 4096;

/** Says why a line is no pattern. */
export class BadPattern extends Error {}

/** A byte, any byte, any bytes, or the bytes of a set. */
type Token = number | Uint8Array;
const ANY_BYTE = -1;
const ANY_BYTES = -2;

/** What one component of a path must be: exactly this, what these tokens match, or any number of components. */
type Component = string | readonly Token[] | undefined;
const ANY_COMPONENTS = undefined;

export interface PathPattern {
  /** It takes back what an earlier one excludes. */
  readonly isNegated: boolean;
  readonly wantsDirectory: boolean;
  /** Without a slash in it, it is about the last component of a path at any depth. */
  readonly isAnyDepth: boolean;
  readonly components: readonly Component[];
}

/** The pattern in a line of an exclude file, without its line end; undefined for an empty line and a comment. */
export function patternOfLine(line: ByteString): ByteString | undefined {
  if (line.startsWith('#')) return undefined;
  const text = withoutTrailingSpaces(line);
  return text === '' ? undefined : (text as ByteString);
}

/**
 * Reads a pattern. Follows gitignore(5) and the behaviour of git 2.39.
 * @throws BadPattern for what can never match: a set without its end, a backslash at the end, an empty name.
 */
export function parsePattern(source: ByteString): PathPattern {
  let text: string = source;
  if (text.length > MAX_PATTERN_BYTES) throw new BadPattern(`it is longer than ${MAX_PATTERN_BYTES} bytes`);
  if (text.includes('\0')) throw new BadPattern('it has a zero byte');
  const isNegated = text.startsWith('!');
  if (isNegated) text = text.slice(1);
  const wantsDirectory = text.endsWith('/');
  if (wantsDirectory) text = text.slice(0, -1);
  const isAnyDepth = !text.includes('/');
  if (text.startsWith('/')) text = text.slice(1);
  const parts = text.split('/');
  if (parts.includes('')) throw new BadPattern('a name in it is empty');
  const components = parts.map((part) =>
    /^\*{2,}$/.test(part) && !isAnyDepth ? ANY_COMPONENTS : parseComponent(part),
  );
  return { isNegated, wantsDirectory, isAnyDepth, components };
}

/** Whether the pattern is about a path, given in components; it stands in the directory that the first `depth` of them lead to. */
export function matchesPath(
  pattern: PathPattern,
  path: readonly string[],
  depth: number,
  isDirectory: boolean,
): boolean {
  if (pattern.wantsDirectory && !isDirectory) return false;
  if (pattern.isAnyDepth) return matchesName(pattern.components[0], path[path.length - 1] as string);
  return matchesComponents(pattern.components, path, depth);
}

/** Wildcards as far left as they can: when the rest does not fit, the last one takes one component more. */
function matchesComponents(components: readonly Component[], path: readonly string[], depth: number): boolean {
  let at = 0;
  let pathAt = depth;
  let wild = -1;
  let wildPathAt = depth;
  while (pathAt < path.length) {
    if (at < components.length && components[at] === ANY_COMPONENTS) {
      wild = at++;
      // At the end it stands for what is inside, and not for the directory itself.
      wildPathAt = pathAt;
      if (at === components.length) return true;
    } else if (at < components.length && matchesName(components[at], path[pathAt] as string)) {
      at++;
      pathAt++;
    } else if (wild >= 0) {
      at = wild + 1;
      pathAt = ++wildPathAt;
    } else return false;
  }
  return at === components.length;
}

function matchesName(component: Component, name: string): boolean {
  if (component === ANY_COMPONENTS) return true;
  if (typeof component === 'string') return component === name;
  let at = 0;
  let nameAt = 0;
  let wild = -1;
  let wildNameAt = 0;
  while (nameAt < name.length) {
    const token = component[at];
    if (token === ANY_BYTES) {
      wild = at++;
      wildNameAt = nameAt;
    } else if (token !== undefined && matchesByte(token, name.charCodeAt(nameAt))) {
      at++;
      nameAt++;
    } else if (wild >= 0) {
      at = wild + 1;
      nameAt = ++wildNameAt;
    } else return false;
  }
  while (component[at] === ANY_BYTES) at++;
  return at === component.length;
}

function matchesByte(token: Token, byte: number): boolean {
  return typeof token === 'number' ? token === ANY_BYTE || token === byte : token[byte] === 1;
}

function parseComponent(part: string): Component {
  const tokens: Token[] = [];
  for (let at = 0; at < part.length; at++) {
    const character = part[at] as string;
    if (character === '*') {
      if (tokens.at(-1) !== ANY_BYTES) tokens.push(ANY_BYTES);
    } else if (character === '?') tokens.push(ANY_BYTE);
    else if (character === '[') {
      const { set, end } = parseSet(part, at + 1);
      tokens.push(set);
      at = end;
    } else {
      if (character === '\\' && ++at === part.length) throw new BadPattern('a backslash at its end quotes nothing');
      tokens.push(part.charCodeAt(at));
    }
  }
  const isLiteral = tokens.every((token) => typeof token === 'number' && token >= 0);
  return isLiteral ? String.fromCharCode(...(tokens as number[])) : tokens;
}

const CLASSES: Readonly<Record<string, RegExp>> = {
  alnum: /[0-9A-Za-z]/,
  alpha: /[A-Za-z]/,
  blank: /[ \t]/,
  cntrl: /[^ -~\x80-\xff]/,
  digit: /[0-9]/,
  graph: /[!-~]/,
  lower: /[a-z]/,
  print: /[ -~]/,
  punct: /[!-/:-@[-`{-~]/,
  space: /[ \t\n\v\f\r]/,
  upper: /[A-Z]/,
  xdigit: /[0-9A-Fa-f]/,
};

/** A set from behind its [ on, as a table of 256; `end` is where its ] stands. A ] directly at the start is one of the set. */
function parseSet(part: string, start: number): { set: Uint8Array; end: number } {
  const set = new Uint8Array(256);
  const isNegated = part[start] === '!' || part[start] === '^';
  const first = isNegated ? start + 1 : start;
  /** The byte before, which a range may begin with; behind a range or a class there is none. */
  let previous = -1;
  let at = first;
  const byteAt = (place: number): number => {
    if (place >= part.length) throw new BadPattern('a [ in it has no ] (a set cannot hold a slash)');
    return part.charCodeAt(place);
  };
  for (; byteAt(at) !== 0x5d || at === first; at++) {
    const character = part[at] as string;
    if (character === '-' && previous >= 0 && at + 1 < part.length && part[at + 1] !== ']') {
      at += part[at + 1] === '\\' ? 2 : 1;
      for (let byte = previous; byte <= byteAt(at); byte++) set[byte] = 1;
      previous = -1;
      continue;
    }
    const close = character === '[' && part[at + 1] === ':' ? part.indexOf(']', at + 2) : -1;
    if (close > 0 && part[close - 1] === ':' && close - 1 >= at + 2) {
      const members = CLASSES[part.slice(at + 2, close - 1)];
      if (members === undefined) throw new BadPattern(`${part.slice(at, close + 1)} is no class of characters`);
      for (let byte = 1; byte < 256; byte++) if (members.test(String.fromCharCode(byte))) set[byte] = 1;
      at = close;
      previous = -1;
      continue;
    }
    if (character === '\\') at++;
    previous = byteAt(at);
    set[previous] = 1;
  }
  if (isNegated) for (let byte = 0; byte < 256; byte++) set[byte] = 1 - (set[byte] as number);
  return { set, end: at };
}

/** Spaces at the end count only behind a backslash. */
function withoutTrailingSpaces(line: string): string {
  let spacesFrom = -1;
  for (let at = 0; at < line.length; at++) {
    if (line[at] === ' ') {
      if (spacesFrom < 0) spacesFrom = at;
    } else {
      spacesFrom = -1;
      if (line[at] === '\\') at++;
    }
  }
  return spacesFrom < 0 ? line : line.slice(0, spacesFrom);
}
