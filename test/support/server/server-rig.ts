// A real server with a datastore, and accounts of it as the command line sees them. All is gone after the test or suite.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Ending, type Place, PROGRAM, placeIn } from '../../cli/holdfast.ts';
import { roomyParent } from '../power-cut/scratch.ts';
import { AdminApi } from './server-api.ts';
import { ServerProcess } from './server-process.ts';

export const STORE = 'tank';
const PASSWORD = 'correct horse battery';
/** Of the datastore and the server's state. */
const SERVED_BYTES = 512 << 20;

/** Somebody at the server: commands of this place go there. */
export interface Account extends Place {
  /** `name@realm` or `name@realm!token`. */
  readonly authId: string;
  readonly secret: string;
  readonly env: Readonly<Record<string, string>>;
  /** The same account, reached at another address, such as that of a proxy. */
  at(host: string, port: number): Account;
  /** The same, with other variables of the environment. */
  with(env: Readonly<Record<string, string>>): Account;
  /** The same secret under another name. */
  as(authId: string): Account;
}

export interface ServerRig {
  /** For what is backed up and restored. */
  readonly directory: string;
  /** Of the datastore; like the server's state in memory where it fits. */
  readonly storePath: string;
  readonly stateDirectory: string;
  readonly server: ServerProcess;
  readonly admin: AdminApi;
  path(name: string): string;
  /** A user who is there, by the password. */
  account(authId: string): Account;
  /** A new user with a role on the datastore, by its password. */
  user(name: string, role: string): Promise<Account>;
  /** A new token of a user that is there, with a role of its own on the datastore; undefined: none. */
  token(user: string, name: string, role: string | undefined): Promise<Account>;
  /** A new user and its token, both with the role; the account is the token's. */
  newcomer(name: string, role: string): Promise<Account>;
}

export async function startRig(t: Ending, options: readonly string[] = []): Promise<ServerRig> {
  const directory = mkdtempSync(join(tmpdir(), 'hft-server-'));
  const served = mkdtempSync(join(roomyParent(SERVED_BYTES), 'hft-served-'));
  const stateDirectory = join(served, 'server');
  const storePath = join(served, STORE);
  const server = await ServerProcess.start({ program: PROGRAM, stateDirectory, options });
  t.after(() => {
    server.kill();
    for (const each of [directory, served]) rmSync(each, { recursive: true, force: true, maxRetries: 5 });
  });
  await server.said(/password is in/);
  const admin = await AdminApi.login(server, stateDirectory);
  t.after(() => {
    admin.close().catch(() => undefined);
  });
  await admin.makeDatastore(STORE, storePath);

  const account = (authId: string, secret: string): Account =>
    accountOf({ directory, authId, secret, host: server.host, port: server.port }, server.fingerprint);
  const rig: ServerRig = {
    directory,
    storePath,
    stateDirectory,
    server,
    admin,
    path: (name) => join(directory, name),
    account: (authId) => account(authId, PASSWORD),
    user: async (name, role) => {
      await admin.makeUser(`${name}@local`, PASSWORD);
      await admin.allow(`${name}@local`, `/datastore/${STORE}`, role);
      return account(`${name}@local`, PASSWORD);
    },
    token: async (user, name, role) => {
      const secret = await admin.makeToken(`${user}@local`, name);
      if (role !== undefined) await admin.allow(`${user}@local!${name}`, `/datastore/${STORE}`, role);
      return account(`${user}@local!${name}`, secret);
    },
    newcomer: async (name, role) => {
      await rig.user(name, role);
      return await rig.token(name, 'ci', role);
    },
  };
  return rig;
}

interface Login {
  readonly directory: string;
  readonly authId: string;
  readonly secret: string;
  readonly host: string;
  readonly port: number;
}

function accountOf(login: Login, fingerprint: string, more: Readonly<Record<string, string>> = {}): Account {
  const { directory, authId, secret, host, port } = login;
  const repository = `https://${authId}@${host}:${port}/${STORE}`;
  const env = {
    HOLDFAST_REPOSITORY: repository,
    HOLDFAST_FINGERPRINT: fingerprint,
    [authId.includes('!') ? 'HOLDFAST_TOKEN_SECRET' : 'HOLDFAST_PASSWORD']: secret,
    HOLDFAST_STATE_DIR: join(directory, `client-${authId.replaceAll(/\W/g, '-')}`),
    ...more,
  };
  return {
    ...placeIn(directory, repository, env),
    authId,
    secret,
    env,
    at: (otherHost, otherPort) => accountOf({ ...login, host: otherHost, port: otherPort }, fingerprint, more),
    with: (other) => accountOf(login, fingerprint, { ...more, ...other }),
    as: (other) => accountOf({ ...login, authId: other }, fingerprint, more),
  };
}
