// One JSON call on a connection, as the API takes and answers it.
import type { Static, TSchema } from 'typebox';
import type { Client } from 'undici';
import { answerError, ERROR_MEDIA_TYPE } from './answer-error.ts';
import { exchange } from './exchange.ts';
import { checkedAnswer, describeText, foreignAnswer } from './foreign-answer.ts';

/** Manifests of 1,024 archives are some hundred KiB; nothing of the API is larger than this. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

export interface JsonCall {
  /** Its origin, for errors. */
  readonly server: string;
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
  { server, method, path, body, login }: JsonCall,
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
  const take = (part: Uint8Array): void => {
    length += part.length;
    if (length > MAX_ANSWER_BYTES) throw foreignAnswer(server, what, 'something that has no end');
    parts.push(part);
  };
  const status = await exchange(client, call, take, signal);
  const text = Buffer.concat(parts).toString('utf8');
  if (status < 200 || status > 299) throw answerError(status, text, what, server);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw foreignAnswer(server, what, describeText(text));
  }
  if (value === null || typeof value !== 'object' || !('data' in value))
    throw foreignAnswer(server, what, 'JSON without a member data');
  return checkedAnswer(server, what, value.data, schema, text.length);
}
