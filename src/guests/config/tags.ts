// Tags of a guest: stored in lower case, sorted, each once, with `;` between.
import { HoldfastError } from '../../util/errors.ts';

const TAG = /^[a-z0-9_][a-z0-9_+.-]*$/;

/** Reads a list with `;`, `,` or blanks between. @throws `bad-argument`. */
export function parseTags(value: string): string[] {
  const tags = value
    .toLowerCase()
    .split(/[;,\s]+/)
    .filter((tag) => tag !== '');
  for (const tag of tags) {
    if (TAG.test(tag)) continue;
    throw new HoldfastError('bad-argument', `tags: '${tag}' is no tag: use letters, digits, '_', '-', '+' and '.'`);
  }
  return [...new Set(tags)].sort();
}

export function printTags(tags: readonly string[]): string {
  return parseTags(tags.join(';')).join(';');
}
