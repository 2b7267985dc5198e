// Everything that permissions ask for, from lists.
import type { AclEntry } from '../../src/auth/acl-rights.ts';
import { type AccountState, Permissions, type RightsSource } from '../../src/auth/permissions.ts';
import { type AuthId, parseAuthId, parseUserId } from '../../src/schema/auth-id.ts';
import { NOON_MS } from './access-fixture.ts';

export const USER = parseUserId('anna@local');
export const TOKEN = parseAuthId('anna@local!laptop');
const ALWAYS: AccountState = { enable: true, expire: 0 };

export type Entries = readonly (AclEntry & { readonly authId: AuthId })[];

export class ListedRights implements RightsSource {
  entries: Entries = [];
  user: AccountState | undefined = ALWAYS;
  token: AccountState | undefined = ALWAYS;
  changes = 0;
  reads = 0;
  pools: ReadonlyMap<string, readonly string[]> = new Map();

  generation(): number {
    return this.changes;
  }
  userState(): AccountState | undefined {
    return this.user;
  }
  tokenState(): AccountState | undefined {
    return this.token;
  }
  aclOf(authId: AuthId): AclEntry[] {
    this.reads++;
    return this.entries.filter((entry) => entry.authId === authId);
  }
  pooled(): ReadonlyMap<string, readonly string[]> {
    return this.pools;
  }
}

/** `pools`: path of a member -> paths of its pools. */
export function permissionsOver(
  entries: Entries,
  pools: Readonly<Record<string, readonly string[]>> = {},
): { permissions: Permissions; source: ListedRights } {
  const source = new ListedRights();
  source.entries = entries;
  source.pools = new Map(Object.entries(pools));
  return { permissions: new Permissions(source, () => NOON_MS), source };
}
