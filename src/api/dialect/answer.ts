// What goes back in the backup dialect: the two envelopes, errors as plain text, and errors with codes for callers that ask for them.
import { setImmediate } from 'node:timers/promises';
import type { FastifyReply } from 'fastify';
import type { FailedCall, Format } from './dialect.ts';
import { codedStatus, type Failure } from './failure.ts';

export const JSON_TYPE = 'application/json;charset=UTF-8';
/** Stands for no type at all: the last step before sending takes it away. */
export const UNLABELLED = 'unlabelled/unlabelled';
/** The media type of errors with codes; docs/protocol.md, section 3. */
export const CODED_ERRORS = 'application/vnd.holdfast.error+json';
/** What makes a browser forget its ticket. */
export const EXPIRED_COOKIE =
  '__Host-PBSAuthCookie=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; SameSite=Lax; HttpOnly; Path=/;';

export async function sendData(
  reply: FastifyReply,
  format: Format,
  data: unknown,
  beside: ReadonlyMap<string, unknown>,
): Promise<void> {
  const envelope = format === 'extjs' ? { success: true, status: 200 } : {};
  // Members beside `data` come first, as clients that stop reading at `data` expect them.
  await sendEnvelope(reply, { ...envelope, ...Object.fromEntries(beside) }, data);
}

/** `{"data": …}` with the members of `head` before it. */
export async function sendEnvelope(reply: FastifyReply, head: object, data: unknown): Promise<void> {
  const text = Array.isArray(data) ? await listText(head, data) : JSON.stringify({ ...head, data: data ?? null });
  await reply.code(200).type(JSON_TYPE).send(text);
}

/** Rows that become text at once, some milliseconds of work; between them others get their turn. */
const ROWS_AT_ONCE = 1000;

async function listText(head: object, rows: readonly unknown[]): Promise<Buffer> {
  const before = JSON.stringify({ ...head, data: [] }).slice(0, -']}'.length);
  const parts: Buffer[] = [Buffer.from(before)];
  for (let at = 0; at < rows.length; at += ROWS_AT_ONCE) {
    if (at > 0) await setImmediate();
    const text = JSON.stringify(rows.slice(at, at + ROWS_AT_ONCE)).slice(1, -1);
    parts.push(Buffer.from(at === 0 ? text : `,${text}`));
  }
  parts.push(Buffer.from(']}'));
  return Buffer.concat(parts);
}

export async function sendFailure(
  reply: FastifyReply,
  { format, wantsCodes, isRouted }: FailedCall,
  failure: Failure,
): Promise<void> {
  const isEnveloped = format === 'extjs' && isRouted && !wantsCodes;
  if (failure.status === 401 && !isEnveloped) reply.header('set-cookie', EXPIRED_COOKIE);
  if (wantsCodes) return await sendCoded(reply, failure);
  if (isEnveloped) {
    const isParameters = Object.keys(failure.errors).length > 0;
    const message = isParameters ? 'parameter verification errors' : failure.text;
    const body = { success: false, status: failure.status, message, errors: failure.errors };
    await reply.code(200).type(JSON_TYPE).send(JSON.stringify(body));
    return;
  }
  // The label of the first is wrong, and clients that were written against it depend on it.
  reply.code(failure.status).type(isRouted ? JSON_TYPE : UNLABELLED);
  // A Buffer, for a text would be given a label of its own.
  await reply.send(Buffer.from(failure.text));
}

/** For callers that ask for codes, in any dialect. */
export async function sendCoded(reply: FastifyReply, failure: Failure): Promise<void> {
  const { code, text: message, data } = failure;
  await reply.code(codedStatus(failure)).type(CODED_ERRORS).send(JSON.stringify({ code, message, data }));
}
