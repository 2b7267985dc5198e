// Who may do what where. Rights of an auth id are read once and kept until anything about users, tokens or ACLs changes; whether a user or
// token is enabled and not expired is asked each time, so that expiry needs no event.
import { type AuthId, ROOT_USER, tokenNameOf, type UserId, userOf } from '../schema/auth-id.ts';
import { HoldfastError } from '../util/errors.ts';
import { isAtOrBelow, pathsDownTo } from './acl-path.ts';
import { type AclEntry, AclRights, bothAllow, NO_RIGHTS, type Rights } from './acl-rights.ts';
import { PRIVILEGES, type Privilege } from './privileges.ts';

/** When an account counts. `expire` is in Unix seconds, 0 for never. */
export interface AccountState {
  readonly enable: boolean;
  readonly expire: number;
}

/** What permissions are computed from. */
export interface RightsSource {
  /** Another number after every change, whichever process made it. */
  generation(): number;
  userState(user: UserId): AccountState | undefined;
  tokenState(user: UserId, tokenName: string): AccountState | undefined;
  aclOf(authId: AuthId): readonly AclEntry[];
  /** Path of each guest and storage that is in a pool -> paths of its pools. */
  pooled(): ReadonlyMap<string, readonly string[]>;
}

/** Auth ids kept; more are read again. */
const MAX_KEPT = 4096;
const EVERYTHING: Rights = new Map(PRIVILEGES.map((privilege) => [privilege, true]));
/** A child that no entry names: no safe name is spelled so. */
const ANY_CHILD = '*';
/** The paths that members of pools are below. */
const ABOVE_MEMBERS: ReadonlySet<string> = new Set(['/', '/vms', '/storage']);

interface Kept {
  readonly accounts: readonly (AccountState | undefined)[];
  /** Undefined: everything. */
  readonly ofUser: AclRights | undefined;
  /** Undefined for a user. */
  readonly ofToken: AclRights | undefined;
}

export function isActive(account: AccountState | undefined, nowMs: number): boolean {
  return account?.enable === true && (account.expire === 0 || account.expire * 1000 > nowMs);
}

export class Permissions {
  readonly #source: RightsSource;
  readonly #clock: () => number;
  readonly #kept = new Map<AuthId, Kept>();
  #generation: number | undefined;
  /** Undefined: not read since the last change. */
  #pooled: ReadonlyMap<string, readonly string[]> | undefined;

  /** `clock` gives Unix milliseconds. */
  constructor(source: RightsSource, clock: () => number) {
    this.#source = source;
    this.#clock = clock;
  }

  /** Privilege -> whether it also holds below the path. Empty for whoever is unknown, disabled or expired. */
  of(authId: AuthId, path: string): Rights {
    const kept = this.#look(authId);
    const nowMs = this.#clock();
    return kept.accounts.every((account) => isActive(account, nowMs)) ? this.#rightsAt(kept, path) : NO_RIGHTS;
  }

  has(authId: AuthId, path: string, privilege: Privilege): boolean {
    return this.of(authId, path).has(privilege);
  }

  /** Throws `permission-denied` unless one of the privileges holds at the path. */
  require(authId: AuthId, path: string, ...anyOf: Privilege[]): void {
    const rights = this.of(authId, path);
    if (!anyOf.some((privilege) => rights.has(privilege))) throw permissionDenied(authId, path, anyOf);
  }

  /** Whether the privilege holds at the path or anywhere below it, so that a list can show the way there. */
  hasBelow(authId: AuthId, path: string, privilege: Privilege): boolean {
    const start = path === '/' ? '/' : `/${path.split('/').filter(Boolean).join('/')}`;
    const { ofUser, ofToken } = this.#look(authId);
    const named = [start, ...(ofUser?.pathsFrom(start) ?? []), ...(ofToken?.pathsFrom(start) ?? [])];
    if (ABOVE_MEMBERS.has(start)) named.push(...[...this.#pools().keys()].filter((each) => isAtOrBelow(each, start)));
    // What does not propagate can hide at its own path what comes from above, but not below it.
    return named.some(
      (each) => this.has(authId, each, privilege) || this.has(authId, `${each}/${ANY_CHILD}`, privilege),
    );
  }

  /** The paths that entries of the auth id or of its user stand on, and those of members of pools that give it something. */
  pathsOf(authId: AuthId): string[] {
    const { ofUser, ofToken } = this.#look(authId);
    const gives = (pool: string): boolean =>
      [ofUser, ofToken].some((each) => each !== undefined && each.at(pool).size > 0);
    const members = [...this.#pools()].filter(([, pools]) => pools.some(gives)).map(([path]) => path);
    return [...new Set([...(ofUser?.pathsFrom('/') ?? []), ...(ofToken?.pathsFrom('/') ?? []), ...members])].sort();
  }

  /** Of what was kept when `#look` last looked whether anything changed. */
  #pools(): ReadonlyMap<string, readonly string[]> {
    this.#pooled ??= this.#source.pooled();
    return this.#pooled;
  }

  #rightsAt({ ofUser, ofToken }: Kept, path: string): Rights {
    const pools = this.#pools().get(pathsDownTo(path).at(-1) as string);
    const ofOwner = ofUser === undefined ? EVERYTHING : ofUser.at(path, pools);
    return ofToken === undefined ? ofOwner : bothAllow(ofToken.at(path, pools), ofOwner);
  }

  #look(authId: AuthId): Kept {
    const generation = this.#source.generation();
    if (generation !== this.#generation || this.#kept.size >= MAX_KEPT) {
      this.#kept.clear();
      this.#pooled = undefined;
      this.#generation = generation;
    }
    let kept = this.#kept.get(authId);
    if (kept === undefined) {
      kept = this.#read(authId);
      this.#kept.set(authId, kept);
    }
    return kept;
  }

  #read(authId: AuthId): Kept {
    const user = userOf(authId);
    const tokenName = tokenNameOf(authId);
    const accounts = [this.#source.userState(user)];
    if (tokenName !== undefined) accounts.push(this.#source.tokenState(user, tokenName));
    return {
      accounts,
      ofUser: user === ROOT_USER ? undefined : new AclRights(this.#source.aclOf(user)),
      ofToken: tokenName === undefined ? undefined : new AclRights(this.#source.aclOf(authId)),
    };
  }
}

/** The message is Proxmox's, which clients know; what was missing is in the data. */
export function permissionDenied(authId: AuthId, path: string, anyOf: readonly Privilege[]): HoldfastError {
  return new HoldfastError('permission-denied', 'permission check failed', {
    data: { authId, path, privileges: [...anyOf] },
  });
}
