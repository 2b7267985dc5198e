// What the API needs of the rest of the server: interfaces beside their consumer, so that a fake of each is a few lines.
import type { RoleName } from '../auth/privileges.ts';
import type { HeldDatastore } from '../datastore/held-datastore.ts';
import type { AuthId, UserId } from '../schema/auth-id.ts';
import type { ClientPart, Manifest } from '../schema/manifest.ts';
import type { GroupName, Namespace } from '../schema/names.ts';
import type { WorkerPool } from '../util/worker-pool.ts';

export type { Privilege } from '../auth/privileges.ts';

import type { Privilege } from '../auth/privileges.ts';

export interface ApiServices {
  readonly authenticator: AuthenticatorCalls;
  readonly access: AccessCalls;
  readonly permissions: PermissionCalls;
  readonly tasks: TaskCalls;
  readonly datastores: Datastores;
  readonly sessions: SessionCalls;
  readonly version: VersionInfo;
  readonly node: NodeInfo;
  /** Unix milliseconds. */
  readonly clock: () => number;
}

export interface VersionInfo {
  /** `major.minor`. */
  readonly version: string;
  /** A whole number as text. */
  readonly release: string;
  readonly repoid: string;
}

export interface NodeInfo {
  /** Also answered to as `localhost`. */
  readonly name: string;
  /** Of this installation, whatever its name. */
  readonly instanceId: string;
  /** SHA-256 of the certificate that callers see, as hexadecimal pairs between colons; it may be renewed while the server runs. */
  fingerprint(): string;
}

export interface Credentials {
  readonly authorization: string | undefined;
  /** The whole Cookie header. */
  readonly cookie: string | undefined;
  readonly csrfToken: string | undefined;
  readonly method: string;
  readonly address: string;
}

export interface Identity {
  readonly authId: AuthId;
  readonly by: 'ticket' | 'token';
}

export interface SignIn {
  readonly username: string;
  readonly password: string;
  readonly tfaChallenge: string | undefined;
  readonly address: string;
}

export interface SignedIn {
  readonly username: string;
  readonly ticket: string;
  /** Undefined while a second factor is due: the ticket is then the challenge. */
  readonly csrfToken?: string | undefined;
}

export interface AuthenticatorCalls {
  /** @throws HoldfastError `not-authenticated`. */
  authenticate(credentials: Credentials, nowMs: number): Promise<Identity>;
  /** @throws HoldfastError `not-authenticated`, `login-throttled`. */
  login(request: SignIn): Promise<SignedIn>;
}

export interface PermissionCalls {
  /** Privilege -> whether it also holds below the path. */
  of(authId: AuthId, path: string): ReadonlyMap<Privilege, boolean>;
  has(authId: AuthId, path: string, privilege: Privilege): boolean;
  hasBelow(authId: AuthId, path: string, privilege: Privilege): boolean;
  /** The paths on which rights of the caller stand. */
  pathsOf(authId: AuthId): readonly string[];
}

export interface UserDetails {
  readonly userid: UserId;
  readonly comment?: string | undefined;
  readonly firstname?: string | undefined;
  readonly lastname?: string | undefined;
  readonly email?: string | undefined;
  readonly enable: boolean;
  /** Unix seconds; 0 for never. */
  readonly expire: number;
  readonly totpLocked?: boolean | undefined;
  /** Unix seconds. */
  readonly tfaLockedUntil?: number | undefined;
}

export interface TokenDetails {
  readonly tokenid: AuthId;
  readonly tokenName: string;
  readonly comment?: string | undefined;
  readonly enable: boolean;
  readonly expire: number;
}

export interface AclRow {
  readonly path: string;
  readonly authId: AuthId;
  readonly role: RoleName;
  readonly propagate: boolean;
}

export interface TfaRow {
  readonly id: string;
  readonly type: 'totp' | 'recovery';
  readonly description: string;
  /** Unix seconds. */
  readonly created: number;
  readonly enable: boolean;
}

/** Null takes a text away; what is not given stays. */
export interface UserChange {
  readonly comment?: string | null;
  readonly firstname?: string | null;
  readonly lastname?: string | null;
  readonly email?: string | null;
  readonly enable?: boolean;
  readonly expire?: number;
}
export interface TokenChange {
  readonly comment?: string | null;
  readonly enable?: boolean;
  readonly expire?: number;
}

/** Who did it and from where: for the audit log. */
export interface Actor {
  readonly authId: AuthId;
  readonly address: string;
}

/** Users, tokens, rights and second factors. Each call throws `not-found` or `exists` of the catalogue where that is the matter. */
export interface AccessCalls {
  listUsers(): readonly UserDetails[];
  createUser(
    user: Omit<UserDetails, 'totpLocked' | 'tfaLockedUntil'>,
    password: string | undefined,
    by: Actor,
  ): Promise<void>;
  updateUser(userid: UserId, change: UserChange, by: Actor): Promise<void>;
  deleteUser(userid: UserId, by: Actor): Promise<void>;
  /** `confirmation` is the password of whoever asks. */
  setPassword(userid: UserId, password: string, confirmation: string | undefined, by: Actor): Promise<void>;
  listTokens(userid: UserId): readonly TokenDetails[];
  createToken(userid: UserId, name: string, token: TokenChange, by: Actor): Promise<{ tokenid: string; value: string }>;
  updateToken(userid: UserId, name: string, change: TokenChange, by: Actor): Promise<void>;
  /** A new secret; the old one is good no more. */
  regenerateToken(userid: UserId, name: string, by: Actor): Promise<string>;
  deleteToken(userid: UserId, name: string, by: Actor): Promise<void>;
  listAcl(): readonly AclRow[];
  changeAcl(change: AclRow & { readonly remove: boolean }, by: Actor): Promise<void>;
  listTfa(userid: UserId): readonly TfaRow[];
  /** Verifies `code` against `secret` (an otpauth URI) first. `password` is that of whoever asks. */
  addTotp(
    userid: UserId,
    entry: {
      readonly secret: string;
      readonly code: string;
      readonly description: string;
      readonly password: string | undefined;
    },
    by: Actor,
  ): Promise<{ id: string }>;
  addRecovery(
    userid: UserId,
    password: string | undefined,
    by: Actor,
  ): Promise<{ id: string; codes: readonly string[] }>;
  deleteTfa(userid: UserId, id: string, password: string | undefined, by: Actor): Promise<void>;
  /** True when it had been locked. */
  unlockTfa(userid: UserId, by: Actor): Promise<boolean>;
}

export interface TaskWork {
  readonly upid: string;
  readonly signal: AbortSignal;
  log(text: string): void;
  warn(text: string): void;
  onProgress(what: string, bytesDone: number, bytesTotal: number | undefined): void;
}

export interface TaskRow {
  readonly upid: string;
  readonly node: string;
  readonly pid: number;
  readonly pstart: number;
  /** Unix seconds. */
  readonly starttime: number;
  readonly type: string;
  readonly id: string | null;
  readonly user: string;
  /** Null while it runs, as is `status`. */
  readonly endtime: number | null;
  readonly status: string | null;
  readonly data: Readonly<Record<string, unknown>> | null;
}

export interface TaskFilter {
  readonly running?: boolean;
  readonly errors?: boolean;
  readonly store?: string;
  readonly since?: number;
  readonly until?: number;
  readonly typefilter?: string;
  readonly userfilter?: string;
  readonly statusfilter?: readonly ('ok' | 'warning' | 'error' | 'unknown')[];
  /** Only tasks of this user or token, and of the user's tokens. */
  readonly ownedBy?: string;
  readonly start?: number;
  readonly limit?: number;
}

export interface TaskLog {
  readonly lines: readonly { readonly n: number; readonly t: string }[];
  readonly total: number;
  readonly active: boolean;
}

export interface TaskStatus {
  readonly upid: string;
  readonly node: string;
  readonly pid: number;
  readonly pstart: number;
  readonly starttime: number;
  readonly type: string;
  readonly id: string | null;
  readonly user: string;
  readonly status: 'running' | 'stopped';
  /** Of a task that has stopped. */
  readonly exitstatus?: string;
  readonly endtime?: number;
}

export interface TaskCalls {
  /** Returns at once; what the work throws becomes the task's status. */
  start(
    request: { readonly type: string; readonly id: string | null; readonly authId: string },
    work: (task: TaskWork) => Promise<{ readonly data?: Readonly<Record<string, unknown>> } | undefined>,
  ): { readonly upid: string };
  list(filter: TaskFilter): { readonly rows: readonly TaskRow[]; readonly total: number };
  /** A task that nobody knows is stopped with the status `unknown`. @throws HoldfastError `bad-name` for what is no UPID. */
  status(upid: string): TaskStatus;
  get(upid: string): TaskRow | undefined;
  /** `start` counts from 1. */
  log(upid: string, start: number, limit: number): Promise<TaskLog>;
  /** Asks it to stop. @throws HoldfastError `not-found`. */
  abort(upid: string, reason: string): boolean;
}

export interface DatastoreEntry {
  readonly name: string;
  readonly path: string;
  readonly comment?: string | undefined;
}

export interface OpenDatastore {
  readonly name: string;
  readonly store: HeldDatastore;
  readonly pool: WorkerPool;
}

export interface Datastores {
  list(): readonly DatastoreEntry[];
  /** @throws HoldfastError `not-found`, `datastore-maintenance` when it is offline. */
  get(name: string): Promise<OpenDatastore>;
  /** Makes the directory a datastore, or takes the one that is there when `reuse` says so. @throws `exists`, `datastore-foreign`. */
  create(
    entry: DatastoreEntry & { readonly reuse: boolean; readonly averageChunkBytes?: number | undefined },
  ): Promise<void>;
  /** Null takes the comment away. @throws `not-found`. */
  update(name: string, change: { readonly comment: string | null }): Promise<void>;
  /** Closes it and forgets where it is; its files go only with `destroyData`. @throws `not-found`. */
  remove(name: string, options: { readonly destroyData: boolean; readonly signal: AbortSignal }): Promise<void>;
}

export interface SessionOpening {
  readonly kind: 'backup' | 'read';
  readonly ns: Namespace;
  readonly group: GroupName;
  /** Owner of the group, or who becomes it. */
  readonly owner: AuthId;
  readonly fingerprint: string | undefined;
  /** Snapshots to read, Unix seconds. */
  readonly times: readonly number[];
}

/** Sessions of the object protocol; docs/protocol.md, section 1, has what they answer. */
export interface SessionCalls {
  open(store: OpenDatastore, identity: Identity, request: SessionOpening): Promise<Readonly<Record<string, unknown>>>;
  /** The calls below throw `session-gone` for one that is not there, or is not the caller's. */
  describe(store: OpenDatastore, identity: Identity, session: string): Promise<Readonly<Record<string, unknown>>>;
  commit(
    store: OpenDatastore,
    identity: Identity,
    session: string,
    request: { readonly client: ClientPart; readonly time: number | undefined },
    signal: AbortSignal,
  ): Promise<{ readonly manifest: Manifest; readonly warnings: readonly string[] }>;
  end(store: OpenDatastore, identity: Identity, session: string): Promise<void>;
  /** Sessions that are open. */
  activity(store: OpenDatastore): { readonly read: number; readonly write: number };
}
