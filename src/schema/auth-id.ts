// Who asks: a user `name@realm`, or an API token of one `name@realm!token`. Proxmox's grammar; names reach SQL, logs, tickets and UPIDs, so
// they are checked here, before anything else looks at them.
import { HoldfastError } from '../util/errors.ts';

const MAX_LENGTH = 64;
const MAX_TOKEN_NAME_LENGTH = 64;
/** No white space, `:` or `/`, for tickets, UPIDs and paths are split at those; nothing invisible; no `!` first, for `!tfa!` tickets. */
const USER_NAME = /^(?!!)[^\s:/\p{C}]+$/u;
const SAFE = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/;

declare const userBrand: unique symbol;
declare const authBrand: unique symbol;

/** `name@realm`, or a token's `name@realm!token`. Checked. */
export type AuthId = string & { readonly [authBrand]: true };
/** `name@realm`. Checked. Each user id is an auth id too. */
export type UserId = AuthId & { readonly [userBrand]: true };

/** The administrator who may do everything and cannot be removed. */
export const ROOT_USER = 'root@pam' as UserId;

/** Throws `bad-name`. */
export function parseUserId(text: string): UserId {
  const { userText, tokenName } = split(text);
  if (tokenName !== undefined) throw bad(text, 'user id', 'write NAME@REALM, without a token name');
  return checkUser(text, userText);
}

/** Throws `bad-name`. */
export function parseAuthId(text: string): AuthId {
  const { userText, tokenName } = split(text);
  checkUser(text, userText);
  if (tokenName !== undefined) parseTokenName(tokenName);
  return text as AuthId;
}

/** The part after `!`: letters, digits, `.`, `_`, `-`. Throws `bad-name`. */
export function parseTokenName(text: string): string {
  if (!SAFE.test(text) || text.length > MAX_TOKEN_NAME_LENGTH) {
    throw bad(
      text,
      'token name',
      `use letters, digits, '.', '_' and '-', not starting with '.' or '-', at most ${MAX_TOKEN_NAME_LENGTH}`,
    );
  }
  return text;
}

export function userOf(authId: AuthId): UserId {
  return split(authId).userText as UserId;
}

/** Undefined for a user. */
export function tokenNameOf(authId: AuthId): string | undefined {
  return split(authId).tokenName;
}

export function realmOf(authId: AuthId): string {
  const user = userOf(authId);
  return user.slice(user.lastIndexOf('@') + 1);
}

export function tokenIdOf(user: UserId, tokenName: string): AuthId {
  return `${user}!${tokenName}` as AuthId;
}

/** The last `@` ends the name, for names may have others; a realm has no `!`, so the first one after it begins the token's name. */
function split(text: string): { userText: string; tokenName: string | undefined } {
  const mark = text.indexOf('!', text.lastIndexOf('@') + 1);
  if (!text.includes('@') || mark < 0) return { userText: text, tokenName: undefined };
  return { userText: text.slice(0, mark), tokenName: text.slice(mark + 1) };
}

function checkUser(whole: string, text: string): UserId {
  const at = text.lastIndexOf('@');
  const isGood =
    at > 0 &&
    text.length <= MAX_LENGTH &&
    USER_NAME.test(text.slice(0, at)) &&
    SAFE.test(text.slice(at + 1)) &&
    text.normalize('NFC') === text;
  if (isGood) return text as UserId;
  throw bad(
    whole,
    'user id',
    `write NAME@REALM, at most ${MAX_LENGTH} characters, without spaces, ':' and '/': for example anna@local`,
  );
}

function bad(text: string, what: string, hint: string): HoldfastError {
  // Control characters of a hostile name must not reach a terminal.
  const shown = JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}…` : text).replace(
    /[\p{C}\p{Zl}\p{Zp}]/gu,
    (char) => `\\u{${(char.codePointAt(0) as number).toString(16)}}`,
  );
  return new HoldfastError('bad-name', `${shown} is not a valid ${what}: ${hint}`, { data: { name: text } });
}
