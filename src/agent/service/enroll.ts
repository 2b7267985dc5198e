// Enrols this host: shows the server the one-time secret, and keeps the token that it gives.
import { Type } from 'typebox';
import { parseAuthId, tokenNameOf, userOf } from '../../schema/auth-id.ts';
import { openCall } from '../../transport/client/open-call.ts';
import { HoldfastError } from '../../util/errors.ts';
import {
  type AgentConfig,
  makeStateDirectory,
  readAgentConfig,
  requireAbsolute,
  writeAgentConfig,
} from './agent-config.ts';
import { describeMachine } from './machine.ts';

const Token = Type.Object({ 'auth-id': Type.String(), secret: Type.String({ minLength: 1 }) });

export interface EnrolmentRequest
  extends Pick<AgentConfig, 'host' | 'port' | 'fingerprint' | 'node' | 'keyFile' | 'passphraseFile'>,
    OfGuests {
  readonly stateDirectory: string;
  /** Shown once by the server. */
  readonly secret: string;
  /** Undefined: as they were, or as is usual. */
  readonly allowBackup: readonly string[] | undefined;
  readonly allowRestore: readonly string[] | undefined;
  readonly signal: AbortSignal;
}

/**
 * What this host allows stays as it was when the host is enrolled anew and nothing else is said.
 * @throws `not-authenticated` whatever is wrong with the secret, `server-untrusted`, `server-unreachable`, `target-failed`.
 */
export async function enroll(
  request: EnrolmentRequest,
  usual: Pick<AgentConfig, 'allowBackup' | 'allowRestore'>,
): Promise<AgentConfig> {
  const { stateDirectory, host, port, fingerprint, node, secret, signal } = request;
  const before = await readAgentConfig(stateDirectory);
  const keyFile = request.keyFile ?? before?.keyFile;
  const passphraseFile = request.passphraseFile ?? before?.passphraseFile;
  const config = {
    host,
    port,
    fingerprint,
    node,
    allowBackup: [...(request.allowBackup ?? before?.allowBackup ?? usual.allowBackup)],
    allowRestore: [...(request.allowRestore ?? before?.allowRestore ?? usual.allowRestore)],
    ...guestsOf(before),
    ...guestsOf(request),
    ...(keyFile !== undefined && { keyFile }),
    ...(passphraseFile !== undefined && { passphraseFile }),
  };
  // Before the secret is used up: a directory that cannot be written to would lose the token.
  const { allowBackup, allowRestore, allowScript = [], nodeDirectory = '/' } = config;
  requireAbsolute([...allowBackup, ...allowRestore, ...allowScript, nodeDirectory]);
  await makeStateDirectory(stateDirectory);
  const machine = await describeMachine(stateDirectory);
  const body = { secret, 'machine-id': machine.machineId, 'host-name': machine.hostName };
  const place = { host, port, fingerprint: fingerprint ?? undefined };
  const given = await openCall(place, `/nodes/${encodeURIComponent(node)}/enrolment`, body, Token, signal);
  const authId = parseAuthId(given['auth-id']);
  const token = tokenNameOf(authId);
  if (token === undefined) throw new HoldfastError('protocol-failed', `${authId} is no token`);
  const enrolled = { ...config, user: userOf(authId), token, secret: given.secret };
  await writeAgentConfig(stateDirectory, enrolled);
  return enrolled;
}

type OfGuests = Pick<AgentConfig, 'allowGuestBackup' | 'allowGuestRestore' | 'allowScript' | 'nodeDirectory'>;

/** What is said of guests; nothing for what is not. */
function guestsOf(config: OfGuests | undefined): OfGuests {
  const { allowGuestBackup, allowGuestRestore, allowScript, nodeDirectory } = config ?? {};
  return {
    ...(allowGuestBackup !== undefined && { allowGuestBackup }),
    ...(allowGuestRestore !== undefined && { allowGuestRestore }),
    ...(allowScript !== undefined && { allowScript }),
    ...(nodeDirectory !== undefined && { nodeDirectory }),
  };
}
