// The audit log: who changed what of users, tokens, rights, second factors and datastores, and which sign-ins failed. Never a secret: events
// are made of names, times and flags alone.
import type { AuthId } from '../schema/auth-id.ts';

export const AUDIT_ACTIONS = [
  'user-create',
  'user-update',
  'user-delete',
  'password-set',
  'token-create',
  'token-update',
  'token-delete',
  'acl-set',
  'acl-delete',
  'tfa-add',
  'tfa-update',
  'tfa-delete',
  'tfa-locked',
  'tfa-unlock',
  'datastore-add',
  'datastore-update',
  'datastore-remove',
  'node-add',
  'node-enrol',
  'node-remove',
  'job-create',
  'job-update',
  'job-remove',
  'notification-add',
  'notification-update',
  'notification-remove',
  'pool-create',
  'pool-update',
  'pool-delete',
  'login',
  'login-failed',
  'token-refused',
  'enrolment-refused',
] as const;
export type AuditAction = (typeof AUDIT_ACTIONS)[number];

export interface AuditEvent {
  readonly action: AuditAction;
  /** Who did it, or as whom somebody tried to sign in. */
  readonly by: string;
  /** From where; empty for the command line. */
  readonly address: string;
  /** What it was done to: a user, a token, a path, a datastore. */
  readonly object: string;
  readonly detail?: Readonly<Record<string, string | number | boolean | readonly string[]>>;
}

export interface AuditEntry extends AuditEvent {
  readonly id: number;
  /** Unix milliseconds. */
  readonly timeMs: number;
}

/** Entries of one page: as many as come when nobody says how many, and the most. */
export const AUDIT_PAGE = { usual: 50, most: 1000 } as const;

export interface AuditQuery {
  readonly limit: number;
  /** Entries older than this one. */
  readonly before?: number;
  readonly action?: AuditAction;
  readonly by?: string;
}

export interface AuditLog {
  append(event: AuditEvent): void;
  /** Newest first. The log is looked through in short turns of the thread. */
  list(query: AuditQuery): Promise<readonly AuditEntry[]>;
}

/** Who asks for a change, and from where. */
export interface Actor {
  readonly authId: AuthId;
  readonly address: string;
}
