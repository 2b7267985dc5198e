// One bulk call from its header to its answer: who calls, what for, and how a refusal reaches a client that is still sending.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import { HoldfastError } from '../../util/errors.ts';
import { nowSeconds } from './activity.ts';
import type { Admission, Admitted } from './admission.ts';
import { answerBytes, answerJson, errorBody, statusOf } from './answers.ts';
import { DISCARD_BYTES, DISCARD_MS, GET_BODY_BYTES, HAVE_BODY_BYTES, LIMITS, TURN_MS } from './bulk-limits.ts';
import type { BulkObjects, RecordSink } from './bulk-objects.ts';
import type { Connection } from './connection.ts';
import { knownIds, sendRecords } from './get-call.ts';
import { readIds } from './id-body.ts';
import type { LargeRecords } from './large-records.ts';
import { PutCall } from './put-call.ts';

type Verb = 'have' | 'put' | 'get';

/** What the calls of a thread share. */
export interface BulkContext {
  readonly objects: BulkObjects;
  readonly admission: Admission;
  readonly large: LargeRecords;
  /** Hears of mistakes of the program. */
  readonly report: (error: unknown) => void;
}

const BODY_BYTES: Record<Verb, number> = { have: HAVE_BODY_BYTES, put: LIMITS.putBytes, get: GET_BODY_BYTES };

/** Answers a request; never rejects. */
export async function answerBulkCall(
  context: BulkContext,
  connection: Connection,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let leave = (): void => {};
  try {
    const { verb, session } = parseTarget(request);
    const admitted = context.admission.require(session, request.headers.authorization);
    requireLength(request, BODY_BYTES[verb]);
    leave = enter(admitted, connection, request);
    await run(context, { verb, admitted, connection, request, response });
  } catch (error) {
    await refuse(context, request, response, error);
  } finally {
    leave();
  }
}

interface Call {
  readonly verb: Verb;
  readonly admitted: Admitted;
  readonly connection: Connection;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

async function run({ objects, large }: BulkContext, call: Call): Promise<void> {
  const { verb, admitted, connection, request, response } = call;
  const { session, kind } = admitted;
  if (verb === 'put') {
    if (kind !== 'backup') throw new HoldfastError('bad-argument', `session ${session} reads; it takes no records`);
    const sink = await prepared(objects.sink(session));
    const options = { session, request, sink, frames: connection.frames, large, maxBytes: LIMITS.putBytes };
    answerJson(response, 200, { records: await new PutCall(options).run() });
    return;
  }
  const ids = await readIds(request, BODY_BYTES[verb]);
  if (kind === 'backup') await prepared(objects.sink(session));
  const known = kind === 'backup' && verb === 'have' ? objects.sink(session) : objects.reader(session);
  if (verb === 'have') answerBytes(response, 200, 'application/octet-stream', await knownIds(known, ids));
  else await sendRecords(objects.reader(session), ids, response);
}

/** A sink that knows its whole scope: what others store in between must not wait for that. */
async function prepared(sink: RecordSink): Promise<RecordSink> {
  while (!sink.prepare(TURN_MS)) await setImmediate();
  return sink;
}

function parseTarget(request: IncomingMessage): { verb: Verb; session: string } {
  const found = /^\/v1\/([0-9a-f]{32})\/(have|put|get)$/.exec(request.url ?? '');
  if (found === null || request.method !== 'POST')
    throw new HoldfastError('not-found', 'this port takes POST /v1/SESSION/have, put and get');
  return { session: found[1] as string, verb: found[2] as Verb };
}

function requireLength(request: IncomingMessage, maxBytes: number): void {
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced > maxBytes)
    throw new HoldfastError('too-large', `a body of ${announced} bytes is over the limit of ${maxBytes}`);
}

function enter(admitted: Admitted, connection: Connection, request: IncomingMessage): () => void {
  const leave = admitted.enter(() => request.socket.destroy());
  connection.serve(admitted.activity);
  admitted.activity.callStarted(nowSeconds());
  return () => {
    admitted.activity.callEnded(nowSeconds());
    leave();
  };
}

/** Answers with the error. A body that is still on its way is read and thrown away, as far as that goes, so that the answer is received. */
async function refuse(
  { report }: BulkContext,
  request: IncomingMessage,
  response: ServerResponse,
  error: unknown,
): Promise<void> {
  const status = statusOf(error);
  if (!(error instanceof HoldfastError)) report(error);
  if (response.headersSent || response.destroyed) {
    request.socket.destroy();
    return;
  }
  if (request.readableEnded) {
    answerJson(response, status, errorBody(error));
    return;
  }
  const body = Buffer.from(JSON.stringify(errorBody(error)));
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': body.length,
    connection: 'close',
  });
  response.write(body);
  await discard(request);
  response.end();
}

function discard(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let bytes = 0;
    const timer = setTimeout(resolve, DISCARD_MS);
    const end = (): void => {
      clearTimeout(timer);
      resolve();
    };
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > DISCARD_BYTES) end();
    });
    request.on('end', end).on('close', end).on('error', end);
    request.resume();
  });
}
