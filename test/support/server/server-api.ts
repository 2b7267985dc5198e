// The server's API as its administrator uses it: a ticket, and then calls that are expected to succeed.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';

export interface ApiPlace {
  readonly host: string;
  readonly port: number;
}

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

export interface Answer {
  readonly status: number;
  readonly text: string;
}

const TASK_TIMEOUT_MS = 60_000;

/** A call with the headers given; whatever the answer is. `path` stands below /api2/json. */
export class ApiCaller {
  readonly #origin: string;
  readonly #agent = new Agent({ connect: { rejectUnauthorized: false }, keepAliveTimeout: 1000 });

  constructor({ host, port }: ApiPlace) {
    this.#origin = `https://${host}:${port}`;
  }

  async try(method: Method, path: string, body?: object, headers: Record<string, string> = {}): Promise<Answer> {
    return await this.get(method, `/api2/json${path}`, body, headers);
  }

  /** The same for what is not of the API, such as /metrics. */
  async get(method: Method, path: string, body?: object, headers: Record<string, string> = {}): Promise<Answer> {
    const answer = await request(`${this.#origin}${path}`, {
      method,
      dispatcher: this.#agent,
      headers: { accept: 'application/json', ...headers, ...(body && { 'content-type': 'application/json' }) },
      body: body === undefined ? null : JSON.stringify(body),
    });
    return { status: answer.statusCode, text: await answer.body.text() };
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}

export class AdminApi {
  readonly caller: ApiCaller;
  readonly #headers: Record<string, string>;

  private constructor(caller: ApiCaller, headers: Record<string, string>) {
    this.caller = caller;
    this.#headers = headers;
  }

  /** Logs in as root@pam with the password of the first start. */
  static async login(place: ApiPlace, stateDirectory: string): Promise<AdminApi> {
    const password = readFileSync(join(stateDirectory, 'first-password'), 'utf8').trim();
    const caller = new ApiCaller(place);
    const body = { username: 'root@pam', password };
    const { ticket, CSRFPreventionToken } = dataOf<Record<string, string>>(
      await caller.try('POST', '/access/ticket', body),
      'login',
    );
    return new AdminApi(caller, {
      cookie: `PBSAuthCookie=${encodeURIComponent(ticket)}`,
      csrfpreventiontoken: CSRFPreventionToken,
    });
  }

  /** @throws what it answered when that is not success. */
  async call<Data>(method: Method, path: string, body?: object): Promise<Data> {
    return dataOf<Data>(await this.caller.try(method, path, body, this.#headers), `${method} ${path}`);
  }

  /** The answer as it is. @throws when that is not success. */
  async text(path: string): Promise<string> {
    const { status, text } = await this.caller.try('GET', path, undefined, this.#headers);
    if (status !== 200) throw new Error(`GET ${path} was answered with ${status}: ${text.slice(0, 500)}`);
    return text;
  }

  /** Waits for the end of a task that a call started. @throws when it failed. */
  async task(upid: string): Promise<void> {
    const deadline = performance.now() + TASK_TIMEOUT_MS;
    while (performance.now() < deadline) {
      const path = `/nodes/localhost/tasks/${encodeURIComponent(upid)}/status`;
      const { status, exitstatus } = await this.call<{ status: string; exitstatus?: string }>('GET', path);
      if (status !== 'running') {
        if (exitstatus !== 'OK') throw new Error(`task ${upid}: ${exitstatus}`);
        return;
      }
      await sleep(20);
    }
    throw new Error(`task ${upid} does not end`);
  }

  async makeDatastore(name: string, path: string): Promise<void> {
    await this.task(await this.call<string>('POST', '/config/datastore', { name, path }));
  }

  async makeUser(userid: string, password: string): Promise<void> {
    await this.call('POST', '/access/users', { userid, password });
  }

  /** Returns the token's secret. */
  async makeToken(userid: string, name: string): Promise<string> {
    const { value } = await this.call<{ value: string }>('POST', `/access/users/${userid}/token/${name}`, {});
    return value;
  }

  async allow(authId: string, path: string, role: string): Promise<void> {
    await this.call('PUT', '/access/acl', { path, role, 'auth-id': authId });
  }

  /** The figures of /metrics, by name with labels. */
  async metrics(): Promise<Map<string, number>> {
    const { text } = await this.caller.get('GET', '/metrics');
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    return new Map(
      lines.map((line) => {
        const cut = line.lastIndexOf(' ');
        return [line.slice(0, cut), Number(line.slice(cut + 1))] as const;
      }),
    );
  }

  async close(): Promise<void> {
    await this.caller.close();
  }
}

function dataOf<Data>({ status, text }: Answer, what: string): Data {
  if (status < 200 || status > 299) throw new Error(`${what} was answered with ${status}: ${text.slice(0, 500)}`);
  return (JSON.parse(text) as { data: Data }).data;
}
