// What may stand in the fields of users and tokens, wherever they come from.
import { HoldfastError } from '../util/errors.ts';
import type { UserTexts } from './access-store.ts';

const MAX_LENGTH = { comment: 128, firstname: 64, lastname: 64, email: 64, description: 255 } as const;

/** One line each. Throws `bad-argument`. */
export function checkTexts(texts: Partial<UserTexts> & { readonly description?: string }): void {
  for (const [name, text] of Object.entries(texts)) {
    const most = MAX_LENGTH[name as keyof typeof MAX_LENGTH];
    if (text.length <= most && !/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(text)) continue;
    throw new HoldfastError('bad-argument', `${name}: write one line of at most ${most} characters`);
  }
}

/** Unix seconds, 0 for never. Throws `bad-argument`. */
export function checkExpire(expire: number): void {
  if (Number.isSafeInteger(expire) && expire >= 0) return;
  throw new HoldfastError('bad-argument', `expire: give Unix seconds, or 0 for never; ${expire} is neither`);
}

/** Throws `too-many`. */
export function requireRoom(count: number, most: number, what: string): void {
  if (count < most) return;
  throw new HoldfastError(
    'too-many',
    `there are ${count} ${what} already, and no more than ${most} can be; remove some`,
  );
}
