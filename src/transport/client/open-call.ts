// A call of a method that is for the world: nothing is shown of who asks, and it is made once.
import type { Static, TSchema } from 'typebox';
import { HoldfastError } from '../../util/errors.ts';
import { isBrokenLine, lineError } from './answer-error.ts';
import { jsonCall } from './json-call.ts';
import { originOf } from './repository-address.ts';
import { TrustedLines } from './trusted-line.ts';

const CALL_TIMEOUT_MS = 60_000;

export interface OpenCallPlace {
  readonly host: string;
  readonly port: number;
  /** 64 hexadecimal digits, or the authorities of the system are asked. */
  readonly fingerprint: string | undefined;
}

/** `path` stands below /api2/json. @throws what the server says, `server-unreachable`, `server-untrusted`, `protocol-failed`. */
export async function openCall<Schema extends TSchema>(
  place: OpenCallPlace,
  path: string,
  body: Readonly<Record<string, unknown>>,
  schema: Schema,
  signal: AbortSignal,
): Promise<Static<Schema>> {
  const client = new TrustedLines(place.fingerprint).open(originOf(place));
  const either = AbortSignal.any([signal, AbortSignal.timeout(CALL_TIMEOUT_MS)]);
  try {
    return await jsonCall(client, { server: originOf(place), method: 'POST', path, body }, schema, either);
  } catch (error) {
    signal.throwIfAborted();
    if (!isBrokenLine(error)) throw lineError(error, originOf(place));
    throw new HoldfastError(
      'server-unreachable',
      `${originOf(place)} cannot be reached: ${(error as Error).message}; look at the network, run again`,
      { cause: error },
    );
  } finally {
    await client.destroy();
  }
}
