// Patterns for paths in an archive, as shells write them: `*` and `?` stay within a name, `**` goes over any number of names, `[a-z]` is one of
// some bytes, `\` takes the next byte as it is. Without a slash a pattern is for names at any depth, else for paths from the top on.
import type { ByteString } from '../../util/byte-string.ts';
import { HoldfastError } from '../../util/errors.ts';

/** What matches the whole path (without a slash at its start). @throws `bad-argument`. */
export function compilePattern(pattern: ByteString): RegExp {
  const path = pattern.replace(/^\/+|\/+$/g, '');
  if (path === '')
    throw new HoldfastError('bad-argument', 'an empty pattern matches nothing; to restore everything, leave it out');
  const anywhere = path.includes('/') || pattern.startsWith('/') ? '' : '(?:.*/)?';
  try {
    return new RegExp(`^${anywhere}${path.replace(TOKEN, (token) => translate(token))}$`, 's');
  } catch (cause) {
    throw new HoldfastError(
      'bad-argument',
      `${JSON.stringify(pattern)} is no pattern; in [a-z] the lower end comes first`,
      { cause },
    );
  }
}

const TOKEN = /\*\*\/|\*\*|\*|\?|\[[!^]?\]?[^\]]*\]|\\.|./gs;

function translate(token: string): string {
  if (token === '**/') return '(?:.*/)?';
  if (token === '**') return '.*';
  if (token === '*') return '[^/]*';
  if (token === '?') return '[^/]';
  if (token.length > 2 && token.startsWith('[')) return byteClass(token.slice(1, -1));
  return escaped(token.length === 2 ? token.slice(1) : token);
}

function byteClass(inside: string): string {
  const negated = /^[!^]/.test(inside);
  const bytes = (negated ? inside.slice(1) : inside).replace(/[\\\]^[]/g, '\\$&');
  return negated ? `[^/${bytes}]` : `(?!/)[${bytes}]`;
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}
