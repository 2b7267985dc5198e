// What a client is told about servers and not in the address: secrets, from the environment or from files, and fingerprints. The file
// remotes.json has mode 0600, or is refused.
import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { JsonShapeError, parseJson } from '../../util/json-file.ts';
import { parseFingerprint } from './fingerprint.ts';
import { formatRepositoryAddress, type RepositoryAddress } from './repository-address.ts';

const Remote = Type.Object(
  {
    fingerprint: Type.Optional(Type.String()),
    password: Type.Optional(Type.String()),
    tokenSecret: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
);
/** By address, as `formatRepositoryAddress` writes it. */
const Remotes = Type.Record(Type.String(), Remote);
type Remotes = Static<typeof Remotes>;

/** How to get in. The secret is never logged and never a part of an error. */
export interface Access {
  readonly secret: string;
  /** Of the server's certificate; undefined when the authorities of the system are to be asked. */
  readonly fingerprint: string | undefined;
}

/** `HOLDFAST_REMOTES`, else holdfast/remotes.json in XDG_CONFIG_HOME or ~/.config. */
export function remotesPath(env: NodeJS.ProcessEnv): string {
  if (env.HOLDFAST_REMOTES) return env.HOLDFAST_REMOTES;
  return join(env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'holdfast', 'remotes.json');
}

/**
 * Looks for secret and fingerprint: option, environment, file, in this order.
 * @throws `bad-argument` when there is no secret, or what was found is wrong.
 */
export async function findAccess(
  address: RepositoryAddress,
  option: { readonly fingerprint: string | undefined },
  env: NodeJS.ProcessEnv,
): Promise<Access> {
  const remote = (await readRemotes(remotesPath(env)))[formatRepositoryAddress(address)];
  const byToken = address.token !== undefined;
  const variable = byToken ? 'HOLDFAST_TOKEN_SECRET' : 'HOLDFAST_PASSWORD';
  const secret = (await secretOf(variable, env)) ?? (byToken ? remote?.tokenSecret : remote?.password);
  if (secret === undefined || secret === '') {
    throw new HoldfastError(
      'bad-argument',
      `there is no ${byToken ? 'secret of the token' : 'password'} for ${formatRepositoryAddress(address)}: set ${variable} or ${variable}_FILE, or put it into ${remotesPath(env)}`,
    );
  }
  // A variable that is empty says nothing, as with all the others.
  const fingerprint = option.fingerprint ?? (env.HOLDFAST_FINGERPRINT || remote?.fingerprint);
  return { secret, fingerprint: fingerprint === undefined ? undefined : parseFingerprint(fingerprint) };
}

async function secretOf(variable: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const direct = env[variable];
  if (direct !== undefined && direct !== '') return direct;
  const path = env[`${variable}_FILE`];
  if (path === undefined || path === '') return undefined;
  try {
    return (await readFile(path, 'utf8')).split(/\r?\n/, 1)[0];
  } catch (cause) {
    throw new HoldfastError('bad-argument', `${variable}_FILE cannot be read: ${(cause as Error).message}`, { cause });
  }
}

async function readRemotes(path: string): Promise<Remotes> {
  let text: string;
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0)
      throw new HoldfastError('bad-argument', `${path} holds secrets and others may read it: chmod 600 ${path}`);
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT' || systemCode(cause) === 'ENOTDIR') return {};
    if (systemCode(cause) === undefined) throw cause;
    throw new HoldfastError('bad-argument', `${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  try {
    return parseJson(text, Remotes);
  } catch (cause) {
    if (!(cause instanceof JsonShapeError)) throw cause;
    throw new HoldfastError(
      'bad-argument',
      `${path} is wrong: ${cause.message}; it has for each address an object with fingerprint, password or tokenSecret`,
    );
  }
}
