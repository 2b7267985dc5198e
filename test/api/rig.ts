// An API over fakes and, where a test wants them, real datastores in temporary directories.
import { existsSync } from 'node:fs';
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify';
import { createApi } from '../../src/api/server.ts';
import type {
  ApiServices,
  DatastoreChange,
  DatastoreEntry,
  Datastores,
  OpenDatastore,
} from '../../src/api/services.ts';
import type { Actor } from '../../src/auth/audit-log.ts';
import { createDatastore } from '../../src/datastore/config.ts';
import { Layout } from '../../src/datastore/layout.ts';
import { changeLimits } from '../../src/datastore/limits/limits-file.ts';
import { requireOnline } from '../../src/datastore/limits/maintenance.ts';
import { limitsAnswer } from '../../src/transport/server/session-answers.ts';
import type { Caller, SessionCalls } from '../../src/transport/server/sessions.ts';
import { HoldfastError } from '../../src/util/errors.ts';
import { createTemporaryStore, OpenStore } from '../support/store.ts';
import { FakeAccess, FakeAuthenticator } from './fake-access.ts';
import { type AskedOfJobs, fakeJobs } from './fake-jobs.ts';
import { FakeNodes } from './fake-nodes.ts';
import { FakeNotifications } from './fake-notifications.ts';
import { FakeTasks } from './fake-tasks.ts';

/** Datastores of a table; those that a test makes are opened at once. */
export class FakeDatastores implements Datastores {
  readonly entries = new Map<string, DatastoreEntry>();
  readonly open = new Map<string, OpenStore>();
  /** Why a datastore is not open. */
  readonly reasons = new Map<string, string>();
  /** Who asked for which change. */
  readonly asked: { readonly method: string; readonly actor: Actor; readonly name: string }[] = [];

  list(): DatastoreEntry[] {
    return [...this.entries.values()];
  }
  async get(name: string): Promise<OpenDatastore> {
    const open = this.open.get(name);
    if (open === undefined) throw new HoldfastError('not-found', `there is no datastore ${name}`);
    await requireOnline(open.store.layout);
    return { name, store: open.store, pool: open.pool };
  }
  state(name: string): { reason: string | undefined } {
    return { reason: this.reasons.get(name) };
  }
  async create(
    actor: Actor,
    { reuse, averageChunkBytes, ...entry }: DatastoreEntry & { reuse: boolean; averageChunkBytes?: number },
  ): Promise<void> {
    this.asked.push({ method: 'create', actor, name: entry.name });
    if (!(reuse && existsSync(new Layout(entry.path).config)))
      await createDatastore(entry.path, averageChunkBytes ?? 65536);
    this.entries.set(entry.name, entry);
    this.open.set(entry.name, await OpenStore.open(entry.path, 1));
  }
  async update(actor: Actor, name: string, { comment, ...limits }: DatastoreChange): Promise<void> {
    this.asked.push({ method: 'update', actor, name });
    const { comment: before, ...entry } = this.entries.get(name) as DatastoreEntry;
    await changeLimits(new Layout(entry.path), (each) => ({ ...each, ...limits }));
    this.entries.set(name, { ...entry, comment: comment === undefined ? before : (comment ?? undefined) });
  }
  async remove(actor: Actor, name: string): Promise<void> {
    this.asked.push({ method: 'remove', actor, name });
    await this.open.get(name)?.close();
    this.open.delete(name);
    this.entries.delete(name);
  }
}

export const OPENED_SESSION = {
  session: 'ab'.repeat(16),
  token: 'secret',
  'bulk-port': 8008,
  'server-start': '0',
  'store-id': 'cd'.repeat(16),
  space: 0,
  limits: limitsAnswer(900),
};

/** Sessions that remember what they were asked for. */
export class FakeSessions implements SessionCalls {
  readonly asked: { method: string; caller: Caller; argument: unknown }[] = [];

  async open(_store: string, caller: Caller, body: unknown) {
    this.asked.push({ method: 'open', caller, argument: body });
    return OPENED_SESSION;
  }
  async describe(_store: string, caller: Caller, session: string) {
    this.asked.push({ method: 'describe', caller, argument: session });
    const counters = { 'objects-new': 1, 'objects-reused': 2, 'bytes-new': 3 };
    return { session, 'server-start': '0', counters };
  }
  async commit(_store: string, caller: Caller, session: string): Promise<never> {
    this.asked.push({ method: 'commit', caller, argument: session });
    const ranges = [{ archive: 'a.img', offset: 0, length: 1 }];
    throw new HoldfastError('object-damaged', 'put these again', { data: { ranges } });
  }
  async end(_store: string, caller: Caller, session: string) {
    this.asked.push({ method: 'end', caller, argument: session });
  }
}

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
  /** Empty for what is no JSON. */
  readonly json: { readonly data?: unknown } & Record<string, unknown>;
}

export const RAISED_ALARM = {
  type: 'absence',
  datastore: 'main',
  raised: 1_790_000_000,
  text: 'vm/100 has no good backup',
} as const;

function none(): never {
  throw new HoldfastError('not-found', 'there is no such pool');
}

function nothing(): void {}

export class ApiRig {
  readonly access = new FakeAccess();
  readonly tasks = new FakeTasks();
  readonly nodes = new FakeNodes(this.tasks);
  readonly notifications = new FakeNotifications();
  /** Hours of the digests that were asked for. */
  readonly digests: number[] = [];
  readonly askedOfJobs: AskedOfJobs[] = [];
  readonly jobs = fakeJobs(this.tasks, this.askedOfJobs);
  readonly datastores = new FakeDatastores();
  readonly sessions = new FakeSessions();
  readonly bugs: unknown[] = [];
  /** Why downloads ended in the middle. */
  readonly cut: Error[] = [];
  readonly app: FastifyInstance;
  readonly #removals: (() => Promise<void>)[] = [];

  constructor(delays = { unauthorizedMs: 0, forbiddenMs: 0 }, downloadIdleMs?: number) {
    const services: ApiServices = {
      authenticator: new FakeAuthenticator(this.access),
      access: this.access,
      permissions: this.access,
      realms: [
        { realm: 'pbs', type: 'pbs', comment: 'users of this server' },
        { realm: 'pam', type: 'pam', comment: 'administrators', default: true },
      ],
      tasks: this.tasks,
      datastores: this.datastores,
      sessions: this.sessions,
      nodes: this.nodes,
      notifications: this.notifications,
      rounds: {
        checkAlarms: async () => ({ alarms: [RAISED_ALARM], unknown: ['slow'] }),
        sendDigest: (hours) => {
          this.digests.push(hours);
          return ['mail'];
        },
      },
      jobs: this.jobs,
      // Who may is decided before they are asked.
      pools: { list: () => [], get: none, create: nothing, change: nothing, delete: nothing },
      version: { version: '1.0', release: '2', repoid: 'abcdef123' },
      node: { name: 'node1', instanceId: '0123456789abcdef', fingerprint: () => 'ab:'.repeat(31).concat('ab') },
      clock: () => Date.now(),
    };
    this.app = createApi(services, {
      delays,
      onBug: (error) => this.bugs.push(error),
      onCut: (error) => this.cut.push(error),
      ...(downloadIdleMs !== undefined && { downloadIdleMs }),
    });
  }

  /** A new datastore with real threads. */
  async store(name: string): Promise<OpenStore> {
    const { root, remove } = await createTemporaryStore();
    const open = await OpenStore.open(root, 1);
    this.datastores.entries.set(name, { name, path: root });
    this.datastores.open.set(name, open);
    this.#removals.push(remove);
    return open;
  }

  /** A call of somebody; undefined is nobody. Parameters go into the query, or for POST and PUT into a JSON body. */
  async call(
    as: string | undefined,
    method: string,
    path: string,
    parameters: Record<string, unknown> = {},
    more: InjectOptions = {},
  ): Promise<Answer> {
    const inQuery = method === 'GET' || method === 'DELETE';
    const query = new URLSearchParams(
      Object.entries(parameters).map(([name, value]): [string, string] => [name, String(value)]),
    ).toString();
    const url = `/api2/json${path}${inQuery && query !== '' ? `?${query}` : ''}`;
    const { headers, ...rest } = more;
    const response: LightMyRequestResponse = await this.app.inject({
      method: method as 'GET',
      url,
      ...(inQuery ? {} : { payload: JSON.stringify(parameters) }),
      ...rest,
      headers: { ...this.headers(as), ...(inQuery ? {} : { 'content-type': 'application/json' }), ...headers },
    });
    const text = response.body;
    const type = String(response.headers['content-type'] ?? '');
    const json = jsonOf(text, response.statusCode >= 400);
    return { status: response.statusCode, type, text, json };
  }

  /** A call whose body is bytes: all parameters go into the query. */
  upload(
    bytes: string | Buffer,
    as: string | undefined,
    method: string,
    path: string,
    parameters: Record<string, unknown> = {},
  ): Promise<Answer> {
    const entries = Object.entries(parameters).map(([name, value]): [string, string] => [name, String(value)]);
    const url = `/api2/json${path}?${new URLSearchParams(entries)}`;
    const headers = { 'content-type': 'application/octet-stream' };
    return this.call(as, method, path, {}, { url, payload: bytes, headers });
  }

  /** The bytes of an answer, and its head. */
  async bytes(
    as: string | undefined,
    path: string,
    parameters: Record<string, unknown>,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; headers: Record<string, unknown>; bytes: Buffer }> {
    const entries = Object.entries(parameters).map(([name, value]): [string, string] => [name, String(value)]);
    const url = `/api2/json${path}?${new URLSearchParams(entries)}`;
    const answer = await this.app.inject({ method: 'GET', url, headers: { ...this.headers(as), ...headers } });
    return { status: answer.statusCode, headers: answer.headers, bytes: answer.rawPayload };
  }

  headers(as: string | undefined): Record<string, string> {
    if (as === undefined) return {};
    const token = this.access.tokens.get(as as never);
    if (token !== undefined) return { authorization: `PBSAPIToken=${as}:${token.secret}` };
    return { cookie: `PBSAuthCookie=${as}`, csrfpreventiontoken: 'csrf' };
  }

  async close(): Promise<void> {
    await this.app.close();
    await this.tasks.settle();
    for (const open of this.datastores.open.values()) await open.close();
    for (const remove of this.#removals) await remove();
  }
}

/** Errors of the backup dialect are plain text under the type of JSON, and may begin with a brace. */
function jsonOf(text: string, isError: boolean): Answer['json'] {
  if (!text.startsWith('{')) return {};
  try {
    return JSON.parse(text) as Answer['json'];
  } catch (error) {
    if (isError) return {};
    throw error;
  }
}
