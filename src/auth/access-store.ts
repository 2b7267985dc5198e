// What the access rules keep, as rows, and what they need of the place where it is kept. Nothing here knows SQL.
import type { AuthId, UserId } from '../schema/auth-id.ts';
import type { AclEntry } from './acl-rights.ts';
import type { AccountState } from './permissions.ts';

/** Runs work that is kept wholly or not at all, and that sees no change of others meanwhile. Work is synchronous. */
export interface Transactions {
  atomically<T>(work: () => T): T;
}

/** What a user or an administrator writes about a user; empty when not given. */
export interface UserTexts {
  readonly comment: string;
  readonly firstname: string;
  readonly lastname: string;
  readonly email: string;
}

export interface UserRecord extends AccountState, UserTexts {
  readonly userid: UserId;
  /** Undefined: no password lets this user in. */
  readonly passwordHash: string | undefined;
  /** A random text that tickets are bound to: another one ends all tickets of before. */
  readonly ticketEpoch: string;
}

export interface UserStore {
  find(userid: UserId): UserRecord | undefined;
  list(): readonly UserRecord[];
  insert(user: UserRecord): void;
  /** Replaces all of it but the id. */
  update(user: UserRecord): void;
  /** With tokens and second factors. */
  delete(userid: UserId): void;
}

export interface TokenRecord extends AccountState {
  readonly userid: UserId;
  readonly name: string;
  readonly secretHash: Uint8Array;
  readonly comment: string;
}

export interface TokenStore {
  find(userid: UserId, name: string): TokenRecord | undefined;
  /** Of one user, or of all. */
  list(userid?: UserId): readonly TokenRecord[];
  insert(token: TokenRecord): void;
  update(token: TokenRecord): void;
  delete(userid: UserId, name: string): void;
}

export interface StoredAclEntry extends AclEntry {
  readonly authId: AuthId;
}

export interface AclStore {
  /** By path, auth id and role. */
  list(): readonly StoredAclEntry[];
  /** Adds an entry, or changes whether it propagates. */
  set(entry: StoredAclEntry): void;
  /** One that is not there is no error. */
  delete(entry: Omit<StoredAclEntry, 'propagate'>): void;
  deleteOf(authId: AuthId): void;
  /** All that stands on the path and below it; how many those were. */
  deleteBelow(path: string): number;
}

/** Keys that the server makes for itself, by name. */
export interface SecretStore {
  find(name: string): Uint8Array | undefined;
  insert(name: string, value: Uint8Array): void;
}
