// An API token as lists show it.

import { type Static, Type } from 'typebox';
import type { TokenView } from '../../../auth/token-accounts.ts';

export const TokenRow = Type.Object({
  tokenid: Type.String(),
  comment: Type.Optional(Type.String()),
  enable: Type.Optional(Type.Boolean()),
  expire: Type.Optional(Type.Integer()),
});

export function tokenRow({ tokenid, comment, enable, expire }: TokenView): Static<typeof TokenRow> {
  return {
    tokenid,
    ...(comment === '' ? {} : { comment }),
    ...(enable ? {} : { enable: false }),
    ...(expire === 0 ? {} : { expire }),
  };
}
