// A call of a method that is for the world: nothing is shown of who asks, and it is made once.
import { type Static, type TSchema, Type } from 'typebox';
import request from 'undici/lib/api/api-request.js';
import { HoldfastError } from '../../util/errors.ts';
import { JsonShapeError, parseJson } from '../../util/json-file.ts';
import { answerError, ERROR_MEDIA_TYPE, isBrokenLine, lineError, MAX_ERROR_BYTES } from './answer-error.ts';
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
  const what = `POST ${path}`;
  try {
    const answer = await request.call(client, {
      method: 'POST',
      path: `/api2/json${path}`,
      headers: { accept: `application/json, ${ERROR_MEDIA_TYPE}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.any([signal, AbortSignal.timeout(CALL_TIMEOUT_MS)]),
    });
    const text = await answer.body.text();
    if (answer.statusCode < 200 || answer.statusCode > 299)
      throw answerError(answer.statusCode, text.slice(0, MAX_ERROR_BYTES), what);
    return (parseJson(text, Type.Object({ data: schema })) as unknown as { data: Static<Schema> }).data;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof JsonShapeError)
      throw new HoldfastError('protocol-failed', `the answer to ${what} is not as it should be: ${error.message}`, {
        cause: error,
      });
    if (!isBrokenLine(error)) throw lineError(error);
    throw new HoldfastError(
      'server-unreachable',
      `${originOf(place)} cannot be reached: ${(error as Error).message}; look at the network, run again`,
      { cause: error },
    );
  } finally {
    await client.destroy();
  }
}
