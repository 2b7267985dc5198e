// What the commands of users, tokens, rights, second factors and the audit log ask for, wherever the server's state is: the interface beside its consumers.
import type { StoredAclEntry } from '../../auth/access-store.ts';
import type { AclChange } from '../../auth/acl-changes.ts';
import type { AuditEntry, AuditQuery } from '../../auth/audit-log.ts';
import type { NewTotp, UserFactors } from '../../auth/tfa-enrolment.ts';
import type { TokenFields, TokenView } from '../../auth/token-accounts.ts';
import type { NewUser, UserChanges, UserView } from '../../auth/user-accounts.ts';
import type { AuthId, UserId } from '../../schema/auth-id.ts';

export interface NewSecret {
  readonly tokenid: AuthId;
  /** The secret. Nothing can show it again. */
  readonly value: string;
}

export interface AuditView extends Omit<AuditEntry, 'timeMs'> {
  /** Unix seconds. */
  readonly time: number;
}

/** Each call throws what the rules of access control say: `permission-denied`, `not-found`, `exists`, `bad-argument`. */
export interface Administration {
  /** Of the server, as an authenticator shows it. */
  readonly host: string;
  listUsers(): Promise<readonly UserView[]>;
  createUser(user: NewUser): Promise<void>;
  updateUser(user: UserId, changes: UserChanges): Promise<void>;
  deleteUser(user: UserId): Promise<void>;
  setPassword(user: UserId, password: string): Promise<void>;
  /** Whether anything was locked. */
  unlockTfa(user: UserId): Promise<boolean>;
  listTokens(user: UserId): Promise<readonly TokenView[]>;
  createToken(user: UserId, name: string, fields: TokenFields): Promise<NewSecret>;
  /** The old secret is good no more. */
  regenerateToken(user: UserId, name: string): Promise<NewSecret>;
  deleteToken(user: UserId, name: string): Promise<void>;
  /** Entries at a path and below it; all of them without. */
  listAcl(path: string | undefined): Promise<readonly StoredAclEntry[]>;
  changeAcl(change: AclChange): Promise<void>;
  /** Of one user, or of all that have any. */
  listTfa(user: UserId | undefined): Promise<readonly UserFactors[]>;
  /** What can be known before somebody is shown a new key. @throws what adding one would. */
  checkTfaUser(user: UserId): Promise<void>;
  /** The id. @throws `bad-argument` with `data.wrong` of `code` when the code does not fit. */
  addTotp(user: UserId, totp: Omit<NewTotp, 'confirmation'>): Promise<string>;
  /** The codes. Nothing can show them again. */
  addRecovery(user: UserId): Promise<readonly string[]>;
  deleteTfa(user: UserId, id: string): Promise<void>;
  /** Newest first. */
  listAudit(query: AuditQuery): Promise<readonly AuditView[]>;
}
