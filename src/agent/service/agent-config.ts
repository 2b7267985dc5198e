// What an agent knows of itself: its server, its token, and what orders may do on this host. One file of the host, agent.json in the agent's
// state directory, which no server can change.
import { access, constants, lstat, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { type Static, Type } from 'typebox';
import { MAX_VMID, MIN_VMID } from '../../schema/guest-names.ts';
import { readIfPresent } from '../../util/atomic-file.ts';
import { HoldfastError } from '../../util/errors.ts';
import { JsonShapeError, parseJson } from '../../util/json-file.ts';
import { replacePrivateFile } from '../keys/private-file.ts';

const Places = Type.Array(Type.String({ minLength: 1 }));
const Guests = Type.Array(Type.Union([Type.Literal('all'), Type.Integer({ minimum: MIN_VMID, maximum: MAX_VMID })]));

const AgentFile = Type.Object(
  {
    format: Type.Literal(1),
    host: Type.String({ minLength: 1 }),
    port: Type.Integer({ minimum: 1, maximum: 65_535 }),
    /** Of the server's certificate, 64 hexadecimal digits; null: the authorities of the system vouch for it. */
    fingerprint: Type.Union([Type.String(), Type.Null()]),
    node: Type.String({ minLength: 1 }),
    user: Type.String({ minLength: 1 }),
    token: Type.String({ minLength: 1 }),
    secret: Type.String({ minLength: 1 }),
    /** Below these a backup may read, and below those a restore may write. */
    allowBackup: Places,
    allowRestore: Places,
    /** Virtual machines of this host that may be backed up, and VMIDs that may be made or replaced; none without them. */
    allowGuestBackup: Type.Optional(Guests),
    allowGuestRestore: Type.Optional(Guests),
    /** At or below these a backup of a virtual machine may name its hook script; nowhere without it. */
    allowScript: Type.Optional(Places),
    /** Where this host keeps its guests, if not where `holdfast vm` looks by itself. */
    nodeDirectory: Type.Optional(Type.String({ minLength: 1 })),
    /** With a key file every backup is encrypted, whatever the order says. */
    keyFile: Type.Optional(Type.String({ minLength: 1 })),
    passphraseFile: Type.Optional(Type.String({ minLength: 1 })),
  },
  { additionalProperties: false },
);
export type AgentConfig = Omit<Static<typeof AgentFile>, 'format'>;

/** HOLDFAST_AGENT_STATE, else /var/lib/holdfast-agent for root, else `holdfast-agent` where the user's programs keep their state. */
export function agentStateDirectory(env: NodeJS.ProcessEnv, uid: number | undefined): string {
  if (env.HOLDFAST_AGENT_STATE) return env.HOLDFAST_AGENT_STATE;
  if (uid === 0) return '/var/lib/holdfast-agent';
  return join(env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'holdfast-agent');
}

/** Where a restore may write unless the administrator of the host allows more. */
export function ownRestoreDirectory(stateDirectory: string): string {
  return join(stateDirectory, 'restore');
}

/** Undefined before an enrolment. @throws `bad-argument` for a file that is wrong, or open to others. */
export async function readAgentConfig(stateDirectory: string): Promise<AgentConfig | undefined> {
  const path = pathIn(stateDirectory);
  const text = await readIfPresent(path);
  if (text === undefined) return undefined;
  if (((await lstat(path)).mode & 0o077) !== 0)
    throw new HoldfastError('bad-argument', `${path} holds a secret and others may open it: chmod 600 ${path}`);
  try {
    const { format: _, ...config } = parseJson(text, AgentFile);
    requireAbsolute(pathsOf(config));
    return config;
  } catch (error) {
    if (!(error instanceof JsonShapeError)) throw error;
    throw new HoldfastError('bad-argument', `${path} is wrong: ${error.message}; mend it, or enrol this host anew`, {
      cause: error,
    });
  }
}

/** Makes the directory when it is missing. @throws `target-failed`, `bad-argument`. */
export async function writeAgentConfig(stateDirectory: string, config: AgentConfig): Promise<void> {
  requireAbsolute(pathsOf(config));
  await makeStateDirectory(stateDirectory);
  const text = `${JSON.stringify({ format: 1, ...config }, undefined, 2)}\n`;
  await replacePrivateFile(pathIn(stateDirectory), text, "agent's configuration");
}

/** Makes the agent's directory, with one for restores in it. @throws `target-failed` also when nothing can be written there. */
export async function makeStateDirectory(path: string): Promise<void> {
  try {
    await mkdir(ownRestoreDirectory(path), { recursive: true, mode: 0o700 });
    await access(path, constants.W_OK);
  } catch (error) {
    throw new HoldfastError(
      'target-failed',
      `the agent's state directory ${path} cannot be made: ${(error as Error).message}; name another one with --state`,
      { cause: error },
    );
  }
}

export function requireAbsolute(places: readonly string[]): void {
  const relative = places.find((place) => !isAbsolute(place));
  if (relative !== undefined)
    throw new HoldfastError(
      'bad-argument',
      `${JSON.stringify(relative)} is no absolute path: an agent allows those only`,
    );
}

function pathsOf({ allowBackup, allowRestore, allowScript = [], nodeDirectory }: AgentConfig): string[] {
  return [...allowBackup, ...allowRestore, ...allowScript, ...(nodeDirectory === undefined ? [] : [nodeDirectory])];
}

function pathIn(stateDirectory: string): string {
  return join(stateDirectory, 'agent.json');
}
