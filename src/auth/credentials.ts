// What a request shows of who it is from: a ticket in a cookie, or an API token in `Authorization`. As Proxmox's clients write them.
import { type AuthId, parseAuthId, tokenNameOf } from '../schema/auth-id.ts';
import { HoldfastError } from '../util/errors.ts';

export interface Credentials {
  readonly authorization: string | undefined;
  readonly cookie: string | undefined;
  readonly csrfToken: string | undefined;
  readonly method: string;
  readonly address: string;
}

export interface ShownToken {
  readonly authId: AuthId;
  readonly secret: string;
}

/** The first is set for browsers alone, and no other host name of the domain can put one there. */
const COOKIES = ['__Host-PBSAuthCookie', 'PBSAuthCookie'];

/** The ticket of a `Cookie` header, or undefined. */
export function ticketOf(cookie: string | undefined): string | undefined {
  const pairs = (cookie ?? '').split(';').map((pair) => pair.trim());
  for (const name of COOKIES) {
    const found = pairs.find((pair) => pair.startsWith(`${name}=`));
    if (found !== undefined) return decoded(found.slice(name.length + 1));
  }
  return undefined;
}

/** The token of `PBSAPIToken=USER!NAME:SECRET`, also with a space for `=`; undefined for anything else. */
export function tokenOf(authorization: string | undefined): ShownToken | undefined {
  const text = /^PBSAPIToken[= ](.+)$/.exec(authorization ?? '')?.[1];
  const plain = text === undefined ? undefined : decoded(text);
  const cut = plain?.indexOf(':') ?? -1;
  if (plain === undefined || cut < 0) return undefined;
  try {
    const authId = parseAuthId(plain.slice(0, cut));
    return tokenNameOf(authId) === undefined ? undefined : { authId, secret: plain.slice(cut + 1) };
  } catch (error) {
    if (error instanceof HoldfastError) return undefined;
    throw error;
  }
}

/** Undefined for percent signs that mean nothing. */
function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
