// A token as this dialect shows it. Proxmox VE's tokens without privilege separation are, here, tokens that have every right of their user:
// role Admin on `/`, which both must allow.
import { type Static, Type } from 'typebox';
import type { TokenView } from '../../../../auth/token-accounts.ts';
import { type AuthId, ROOT_USER } from '../../../../schema/auth-id.ts';
import type { GuestCall } from '../../method.ts';
import { Flag, flag, given } from '../parameters.ts';

export const FULL = { path: '/', role: 'Admin' } as const;
export const TokenInfo = Type.Object({
  expire: Type.Integer(),
  privsep: Flag,
  comment: Type.Optional(Type.String()),
});
export const TokenRow = Type.Object({ ...TokenInfo.properties, tokenid: Type.String() });

/** The tokens that have all that their users have. Asked as root: it is no secret of a token that the caller may see. */
export function fullTokens({ services }: GuestCall): ReadonlySet<AuthId> {
  const { entries } = services.access.listAcl({ authId: ROOT_USER, address: '' }, { path: FULL.path, exact: true });
  return new Set(entries.filter(({ role, propagate }) => role === FULL.role && propagate).map(({ authId }) => authId));
}

export function tokenInfoOf(
  full: ReadonlySet<AuthId>,
  { tokenid, expire, comment }: TokenView,
): Static<typeof TokenInfo> {
  return { expire, privsep: flag(!full.has(tokenid)), ...given({ comment: comment || undefined }) };
}

export function tokenRowOf(full: ReadonlySet<AuthId>, token: TokenView): Static<typeof TokenRow> {
  return { tokenid: token.tokenName, ...tokenInfoOf(full, token) };
}
