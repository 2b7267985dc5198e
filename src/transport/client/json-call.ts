// One JSON call on a connection, as the API takes and answers it.
import { type Static, type TSchema, Type } from 'typebox';
import type { Client } from 'undici';
import { HoldfastError } from '../../util/errors.ts';
import { JsonShapeError, parseJson } from '../../util/json-file.ts';
import { answerError, ERROR_MEDIA_TYPE } from './answer-error.ts';
import { exchange } from './exchange.ts';

/** Manifests of 1,024 archives are some hundred KiB; nothing of the API is larger than this. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

export interface JsonCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Below /api2/json. */
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>> | undefined;
  /** What lets the caller in. */
  readonly login?: Readonly<Record<string, string>>;
}

/**
 * Makes the call and checks the member `data` of its answer.
 * @throws what the server says, `protocol-failed`; what undici says of a broken line, the reason of `signal`.
 */
export async function jsonCall<Schema extends TSchema>(
  client: Client,
  { method, path, body, login }: JsonCall,
  schema: Schema,
  signal: AbortSignal,
): Promise<Static<Schema>> {
  const what = `${method} ${path.split('?')[0]}`;
  const headers = { ...login, accept: `application/json, ${ERROR_MEDIA_TYPE}` };
  const call = {
    method,
    path: `/api2/json${path}`,
    headers: body === undefined ? headers : { ...headers, 'content-type': 'application/json' },
    body: body === undefined ? null : Buffer.from(JSON.stringify(body)),
  };
  const parts: Uint8Array[] = [];
  let length = 0;
  const take = (part: Uint8Array): undefined => {
    length += part.length;
    if (length > MAX_ANSWER_BYTES) throw new HoldfastError('protocol-failed', `the answer to ${what} has no end`);
    parts.push(part);
  };
  const status = await exchange(client, call, take, signal);
  const text = Buffer.concat(parts).toString('utf8');
  if (status < 200 || status > 299) throw answerError(status, text, what);
  try {
    return (parseJson(text, Type.Object({ data: schema })) as unknown as { data: Static<Schema> }).data;
  } catch (cause) {
    if (!(cause instanceof JsonShapeError)) throw cause;
    throw new HoldfastError('protocol-failed', `the answer to ${what} is not as it should be: ${cause.message}`, {
      cause,
    });
  }
}
