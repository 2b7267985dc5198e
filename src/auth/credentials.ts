// What a request shows of who it is from: a ticket in a cookie, or an API token in `Authorization`. As Proxmox's clients write them.
import { type AuthId, parseAuthId, tokenNameOf } from '../schema/auth-id.ts';
import { HoldfastError } from '../util/errors.ts';

/** How the clients of one dialect write what they show. */
export interface CredentialStyle {
  /** The first that is there counts. */
  readonly cookies: readonly string[];
  /** `NAME=` before a ticket in `Authorization`; undefined where no client puts one there. */
  readonly ticketScheme?: string;
  /** `SCHEME=USER!NAME`, the separator, and the secret; a space may stand for the first `=`. */
  readonly tokenScheme: string;
  readonly tokenSeparator: ':' | '=';
}

/** The first cookie is set for browsers alone, and no other host name of the domain can put one there. */
export const BACKUP_CREDENTIALS: CredentialStyle = {
  cookies: ['__Host-PBSAuthCookie', 'PBSAuthCookie'],
  tokenScheme: 'PBSAPIToken',
  tokenSeparator: ':',
};

export const GUEST_CREDENTIALS: CredentialStyle = {
  cookies: ['__Host-PVEAuthCookie', 'PVEAuthCookie'],
  ticketScheme: 'PVEAuthCookie',
  tokenScheme: 'PVEAPIToken',
  tokenSeparator: '=',
};

export interface Credentials {
  readonly style: CredentialStyle;
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

/** The ticket of a `Cookie` header, or else of `Authorization` where the dialect has one there; undefined without one. */
export function ticketOf({
  cookie,
  authorization,
  style,
}: Pick<Credentials, 'cookie' | 'authorization' | 'style'>): string | undefined {
  const pairs = (cookie ?? '').split(';').map((pair) => pair.trim());
  for (const name of style.cookies) {
    const found = pairs.find((pair) => pair.startsWith(`${name}=`));
    if (found !== undefined) return decoded(found.slice(name.length + 1));
  }
  const { ticketScheme } = style;
  if (ticketScheme === undefined || !authorization?.startsWith(`${ticketScheme}=`)) return undefined;
  return decoded(authorization.slice(ticketScheme.length + 1));
}

/** The token of `PBSAPIToken=USER!NAME:SECRET` or `PVEAPIToken=USER!NAME=SECRET`; undefined for anything else. */
export function tokenOf({
  authorization,
  style,
}: Pick<Credentials, 'authorization' | 'style'>): ShownToken | undefined {
  const { tokenScheme, tokenSeparator } = style;
  const text = authorization?.startsWith(tokenScheme) ? authorization.slice(tokenScheme.length) : '';
  const plain = /^[= ]./.test(text) ? decoded(text.slice(1)) : undefined;
  // A secret of ours has neither; those of other servers may have a colon, and users a `=`.
  const cut = (tokenSeparator === '=' ? plain?.lastIndexOf('=') : plain?.indexOf(tokenSeparator)) ?? -1;
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
