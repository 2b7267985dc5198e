// The guest dialect over fake guests, with real users, rights, tickets and tasks in a directory of their own.
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { FastifyInstance } from 'fastify';
import { Consoles } from '../../../src/api/guest/console/consoles.ts';
import { createGuestApi } from '../../../src/api/guest/server.ts';
import type { RoleName } from '../../../src/auth/privileges.ts';
import { GUEST_REALMS, GUEST_VERSION_INFO } from '../../../src/daemon/installation.ts';
import type { JobDesk } from '../../../src/jobs/schedule/job-desk.ts';
import { Tasks } from '../../../src/jobs/tasks/tasks.ts';
import { parseAuthId, parseUserId, tokenNameOf, userOf } from '../../../src/schema/auth-id.ts';
import { TaskTables } from '../../../src/state/task-tables.ts';
import { type Fixture, openFixture, passwordOf, ROOT, temporaryDirectory } from '../../auth/access-fixture.ts';
import { type AskedOfJobs, fakeJobs } from '../fake-jobs.ts';
import { FakeBackups } from './fake-backups.ts';
import { FakeGuests, FakeStorages } from './fake-guests.ts';

export interface GuestAnswer {
  readonly status: number;
  readonly reason: string;
  readonly json: {
    readonly data?: unknown;
    readonly message?: string;
    readonly errors?: Record<string, string>;
  } & Record<string, unknown>;
}

export class GuestRig {
  readonly guests = new FakeGuests();
  readonly storages = new FakeStorages();
  readonly backups = new FakeBackups();
  readonly consoles = new Consoles({ takenWithinMs: 60_000, rightsEveryMs: 50 });
  readonly bugs: unknown[] = [];
  readonly fixture: Fixture;
  readonly tasks: Tasks;
  readonly askedOfJobs: AskedOfJobs[] = [];
  readonly jobs: JobDesk;
  readonly app: FastifyInstance;
  readonly #headers = new Map<string, Record<string, string>>();

  private constructor(fixture: Fixture, directory: string, https?: { key: string; cert: string }) {
    this.fixture = fixture;
    const clock = fixture.clock.read;
    const store = new TaskTables(fixture.state.db);
    this.tasks = new Tasks({ store, directory: join(directory, 'tasks'), node: 'pve1', clock });
    const { access, authenticator, permissions, pools } = fixture;
    this.jobs = fakeJobs(this.tasks, this.askedOfJobs, (pool) => void pools.require(pool));
    this.app = createGuestApi(
      {
        access,
        authenticator,
        permissions,
        realms: GUEST_REALMS,
        tasks: this.tasks,
        version: GUEST_VERSION_INFO,
        node: { name: 'pve1', instanceId: 'abc', fingerprint: () => 'ab:cd' },
        clock,
        guests: this.guests,
        storages: this.storages,
        consoles: this.consoles,
        backups: this.backups,
        jobs: this.jobs,
        pools,
      },
      {
        delays: { unauthorizedMs: 0, forbiddenMs: 0 },
        onBug: (error) => this.bugs.push(error),
        ...(https === undefined ? {} : { https }),
      },
    );
  }

  static async open(t: TestContext, https?: { key: string; cert: string }): Promise<GuestRig> {
    const rig = new GuestRig(await openFixture(t), temporaryDirectory(t), https);
    t.after(async () => {
      rig.consoles.close();
      await rig.tasks.drain(0);
      await rig.app.close();
    });
    const { rootPassword } = rig.fixture;
    await rig.#signIn('root@pam', rootPassword);
    return rig;
  }

  /** A user or a token with these roles on these paths. A token has all rights that its user has where nothing is said. */
  async grant(name: string, roles: Readonly<Record<string, RoleName>>): Promise<void> {
    const authId = parseAuthId(name);
    const token = tokenNameOf(authId);
    const { access } = this.fixture;
    if (token === undefined) {
      const userid = parseUserId(name);
      await access.createUser(ROOT, { userid, password: passwordOf(name) });
      await this.#signIn(name, passwordOf(name));
    } else {
      const { value } = access.createToken(ROOT, userOf(authId), token);
      this.#headers.set(name, { authorization: `PVEAPIToken=${name}=${value}` });
    }
    for (const [path, role] of Object.entries(roles)) access.changeAcl(ROOT, { path, role, authId });
  }

  headers(as: string | undefined): Record<string, string> {
    return as === undefined ? {} : (this.#headers.get(as) as Record<string, string>);
  }

  /** A call of somebody; undefined is nobody. Parameters go into the query, or for POST and PUT into a form. */
  async call(
    as: string | undefined,
    method: string,
    path: string,
    parameters: Readonly<Record<string, string | number | readonly string[]>> = {},
    format: 'json' | 'extjs' = 'json',
  ): Promise<GuestAnswer> {
    const inQuery = method === 'GET' || method === 'DELETE';
    const pairs = Object.entries(parameters).flatMap(([name, value]) =>
      [value].flat().map((each): [string, string] => [name, String(each)]),
    );
    const text = new URLSearchParams(pairs).toString();
    const response = await this.app.inject({
      method: method as 'GET',
      url: `/api2/${format}${path}${inQuery && text !== '' ? `?${text}` : ''}`,
      ...(inQuery ? {} : { payload: text }),
      headers: {
        ...this.headers(as),
        ...(inQuery ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
      },
    });
    return { status: response.statusCode, reason: response.statusMessage, json: response.json() };
  }

  /** `data` of a call of root@pam that must succeed. */
  async data<Data>(
    method: string,
    path: string,
    parameters: Readonly<Record<string, string | number | readonly string[]>> = {},
  ): Promise<Data> {
    const { status, reason, json } = await this.call('root@pam', method, path, parameters);
    if (status !== 200) throw new Error(`${method} ${path}: ${status} ${reason} ${JSON.stringify(json)}`);
    return json.data as Data;
  }

  /** The same for a task; returns how it ended. */
  async ended(upid: string): Promise<string> {
    for (;;) {
      const path = `/nodes/pve1/tasks/${encodeURIComponent(upid)}/status`;
      const { status, exitstatus } = await this.data<{ status: string; exitstatus: string }>('GET', path);
      if (status === 'stopped') return exitstatus;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #signIn(username: string, password: string): Promise<void> {
    const signedIn = await this.fixture.authenticator.login({
      username,
      password,
      tfaChallenge: undefined,
      ticketPrefix: 'PVE',
      address: '',
    });
    this.#headers.set(username, {
      cookie: `PVEAuthCookie=${signedIn.ticket}`,
      csrfpreventiontoken: signedIn.csrfToken,
    });
  }
}
