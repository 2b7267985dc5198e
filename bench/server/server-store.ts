// A server of its own process with one empty datastore, and how commands of ours reach it: over TLS, with a token.
import { mkdirSync } from 'node:fs';
import { AdminApi } from '../../test/support/server/server-api.ts';
import { ServerProcess } from '../../test/support/server/server-process.ts';
import { PROGRAM } from '../holdfast.ts';
import type { Command } from '../measure.ts';
import type { Workspace } from '../workspace.ts';

const STORE = 'bench';
const USER = 'bench@local';
const TOKEN = 'ci';

export class ServerStore {
  readonly server: ServerProcess;
  readonly admin: AdminApi;
  /** Directory of the datastore. */
  readonly directory: string;
  readonly #secret: string;

  private constructor(server: ServerProcess, admin: AdminApi, directory: string, secret: string) {
    this.server = server;
    this.admin = admin;
    this.directory = directory;
    this.#secret = secret;
  }

  /** Empties the home folder and starts a server there. `reuse` names a datastore's directory that is there already. */
  static async start(workspace: Workspace, home: string, reuse?: string): Promise<ServerStore> {
    workspace.fresh(home);
    const stateDirectory = workspace.path(home, 'server');
    const server = await ServerProcess.start({ program: PROGRAM, stateDirectory });
    try {
      await server.said(/password is in/);
      const admin = await AdminApi.login(server, stateDirectory);
      const directory = reuse ?? workspace.path(home, 'store');
      if (reuse === undefined) mkdirSync(directory);
      const wish = { name: STORE, path: directory, 'reuse-datastore': reuse !== undefined };
      await admin.task(await admin.call<string>('POST', '/config/datastore', wish));
      await admin.makeUser(USER, 'correct horse battery');
      await admin.allow(USER, `/datastore/${STORE}`, 'DatastoreAdmin');
      const secret = await admin.makeToken(USER, TOKEN);
      await admin.allow(`${USER}!${TOKEN}`, `/datastore/${STORE}`, 'DatastoreAdmin');
      return new ServerStore(server, admin, directory, secret);
    } catch (error) {
      await server.end('SIGKILL');
      throw error;
    }
  }

  /** Where commands find it, at its own address or at that of a proxy. */
  repository(host = this.server.host): string {
    return `https://${USER}!${TOKEN}@${host}:${this.server.port}/${STORE}`;
  }

  /** The command with what lets it in. */
  letIn(command: Command): Command {
    const env = { HOLDFAST_FINGERPRINT: this.server.fingerprint, HOLDFAST_TOKEN_SECRET: this.#secret };
    return { ...command, env: { ...command.env, ...env } };
  }

  /** User and system time of the server so far, in seconds. */
  async cpuS(): Promise<number> {
    return (await this.admin.metrics()).get('process_cpu_seconds_total') ?? Number.NaN;
  }

  async stop(): Promise<void> {
    await this.admin.close();
    await this.server.end('SIGTERM');
  }
}
