// What the API needs of the rest of the server: narrow faces of it, so that a fake of each is a few lines.
import type { Access } from '../auth/access.ts';
import type { Actor } from '../auth/audit-log.ts';
import type { Authenticator } from '../auth/authenticator.ts';
import type { Permissions } from '../auth/permissions.ts';
import type { Pools } from '../auth/pools.ts';
import type { HeldDatastore } from '../datastore/held-datastore.ts';
import type { JobDesk } from '../jobs/schedule/job-desk.ts';
import type { Tasks } from '../jobs/tasks/tasks.ts';
import type { Enrolments } from '../nodes/enrolments.ts';
import type { AgentCaller, Nodes } from '../nodes/nodes.ts';
import type { AlarmView } from '../notify/alarms/alarm-keeper.ts';
import type { Notifications } from '../notify/notifications.ts';
import type * as schema from '../schema/datastore-entry.ts';
import type { Limits } from '../schema/limits-file.ts';
import type { TextSocket } from '../transport/control/control-line.ts';
import type { SessionCalls } from '../transport/server/sessions.ts';
import type { WorkerPool } from '../util/worker-pool.ts';

/** Of all dialects. */
export interface CommonServices {
  readonly authenticator: AuthenticatorCalls;
  readonly access: AccessCalls;
  readonly realms: readonly Realm[];
  readonly permissions: PermissionCalls;
  readonly tasks: TaskCalls;
  readonly version: VersionInfo;
  readonly node: NodeInfo;
  /** Unix milliseconds. */
  readonly clock: () => number;
}

/** Of the backup dialect. */
export interface ApiServices extends CommonServices {
  readonly datastores: Datastores;
  readonly sessions: SessionCalls;
  readonly nodes: NodeCalls;
  readonly notifications: NotificationCalls;
  readonly rounds: RoundCalls;
  readonly jobs: JobCalls;
  readonly pools: Pick<Pools, 'list' | 'get' | 'create' | 'change' | 'delete'>;
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

/** A realm of users, as the sign-in page shows it. */
export interface Realm {
  readonly realm: string;
  readonly type: string;
  readonly comment: string;
  readonly default?: boolean;
}

export type AuthenticatorCalls = Pick<Authenticator, 'authenticate' | 'login'>;
export type PermissionCalls = Pick<Permissions, 'has' | 'hasBelow'>;
/** The rules of who may do what are checked behind it too; what it throws is in words that go out as they are. */
export type AccessCalls = Omit<Access, 'requireTokenMaking'>;
export type TaskCalls = Pick<Tasks, 'start' | 'list' | 'status' | 'get' | 'data' | 'log' | 'abort'>;

/** Hosts, their agents, and orders to them; what it throws is in words that go out as they are. */
export interface NodeCalls extends Pick<Nodes, 'list' | 'get' | 'remove' | 'order'> {
  /** @throws `permission-denied` for whoever is not the agent of the node. */
  requireAgent(...agent: Parameters<Nodes['requireAgent']>): unknown;
  /** Takes a control connection; texts that arrive go to what is returned. Undefined when the server ends. */
  accept(name: string, caller: AgentCaller, socket: TextSocket): TextReceiver | undefined;
  readonly enrolments: Pick<Enrolments, 'add' | 'redeem'>;
}

/** Jobs by schedule; what it throws is in words that go out as they are. */
export type JobCalls = Pick<
  JobDesk,
  'list' | 'find' | 'get' | 'create' | 'update' | 'amend' | 'remove' | 'run' | 'history'
>;

/** Targets, matchers and what waits to be sent; what it throws is in words that go out as they are. */
export type NotificationCalls = Pick<Notifications, 'config' | 'test' | 'waiting'>;

/** What a server looks at and tells by the clock, wanted now. */
export interface RoundCalls {
  /** Tells what is new, and says what is raised. @throws what reading datastores throws. */
  checkAlarms(): Promise<{ readonly alarms: readonly AlarmView[]; readonly unknown: readonly string[] }>;
  /** Of the last `hours`; answers with the targets that get it. */
  sendDigest(hours: number): readonly string[];
}

export interface TextReceiver {
  received(text: string): void;
  closed(reason: string): void;
}

/** A WebSocket for those who send bytes too. */
export interface MessageSocket extends TextSocket {
  /** `onTaken` when the line took them, and never when it ended before. */
  sendBytes(bytes: Uint8Array, onTaken?: () => void): void;
}

export interface MessageReceiver extends TextReceiver {
  /** Without it a message of bytes cuts the line. */
  receivedBytes?(bytes: Buffer): void;
}

/** What is not named stays. */
export interface DatastoreChange {
  /** Null takes it away. */
  readonly comment?: string | null;
  readonly maintenance?: Limits['maintenance'];
  readonly quotas?: Limits['quotas'];
}

export interface OpenDatastore {
  readonly name: string;
  readonly store: HeldDatastore;
  /** Its threads, which also make downloads. */
  readonly pool: WorkerPool;
}

/** As the API shows it. */
export type DatastoreEntry = Pick<schema.DatastoreEntry, 'name' | 'path' | 'comment'>;

export interface Datastores {
  list(): readonly DatastoreEntry[];
  /** @throws HoldfastError `not-found`, `datastore-maintenance` when it is offline. */
  get(name: string): Promise<OpenDatastore>;
  /** Why it could not be opened, as far as somebody tried; nothing when it is open. @throws `not-found`. */
  state(name: string): { readonly reason: string | undefined };
  /** Makes the directory a datastore, or takes the one that is there when `reuse` says so. @throws `exists`, `datastore-foreign`. */
  create(
    actor: Actor,
    wish: DatastoreEntry & { readonly reuse: boolean; readonly averageChunkBytes?: number | undefined },
  ): Promise<void>;
  /** One that goes offline is closed. @throws `not-found`. */
  update(actor: Actor, name: string, change: DatastoreChange): Promise<void>;
  /**
   * Closes it and forgets where it is, and the jobs that are of it alone unless `keepJobs`; its files stay.
   * @throws `not-found`; `bad-argument` for `destroyData`.
   */
  remove(
    actor: Actor,
    name: string,
    options: { readonly destroyData: boolean; readonly keepJobs: boolean },
  ): Promise<void>;
}
