// One bulk call from its header to its answer: who calls, what for, and how a refusal reaches a client that is still sending.
import { setImmediate } from 'node:timers/promises';
import { HoldfastError } from '../../util/errors.ts';
import { nowSeconds } from './activity.ts';
import type { Admission, Admitted } from './admission.ts';
import { answerBytes, answerJson, BYTES_TYPE, errorBody, JSON_TYPE, statusOf } from './answers.ts';
import { DISCARD_BYTES, DISCARD_MS, GET_BODY_BYTES, HAVE_BODY_BYTES, LIMITS, TURN_MS } from './bulk-limits.ts';
import type { BulkObjects, RecordSink } from './bulk-objects.ts';
import type { Connection } from './connection.ts';
import { knownIds, sendRecords } from './get-call.ts';
import type { HttpCall } from './http-connection.ts';
import { readIds } from './id-body.ts';
import type { LargeRecords } from './large-records.ts';
import { PutCall } from './put-call.ts';
import type { RequestBody } from './request-body.ts';

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

/** Answers a call; rejects only with a mistake of the program. */
export async function answerBulkCall(context: BulkContext, connection: Connection, call: HttpCall): Promise<void> {
  let leave = (): void => {};
  try {
    const { verb, session } = parseTarget(call);
    const admitted = context.admission.require(session, call.request.authorization);
    requireLength(call, BODY_BYTES[verb]);
    leave = enter(admitted, connection, call);
    await run(context, { verb, admitted, connection, call });
  } catch (error) {
    await refuse(context, call, error);
  } finally {
    leave();
  }
}

interface AdmittedCall {
  readonly verb: Verb;
  readonly admitted: Admitted;
  readonly connection: Connection;
  readonly call: HttpCall;
}

async function run({ objects, large }: BulkContext, { verb, admitted, connection, call }: AdmittedCall): Promise<void> {
  const { session, kind } = admitted;
  const { body, answer } = call;
  if (verb === 'put') {
    if (kind !== 'backup') throw new HoldfastError('bad-argument', `session ${session} reads; it takes no records`);
    const sink = await prepared(objects.sink(session));
    const options = { session, body, sink, frames: connection.frames, large, maxBytes: LIMITS.putBytes };
    answerJson(answer, 200, { records: await new PutCall(options).run() });
    return;
  }
  const ids = await readIds(body, BODY_BYTES[verb]);
  if (kind === 'backup') await prepared(objects.sink(session));
  const known = kind === 'backup' && verb === 'have' ? objects.sink(session) : objects.reader(session);
  if (verb === 'have') answerBytes(answer, 200, BYTES_TYPE, await knownIds(known, ids));
  else await sendRecords(objects.reader(session), ids, answer);
}

/** A sink that knows its whole scope: what others store in between must not wait for that. */
async function prepared(sink: RecordSink): Promise<RecordSink> {
  while (!sink.prepare(TURN_MS)) await setImmediate();
  return sink;
}

function parseTarget({ request }: HttpCall): { verb: Verb; session: string } {
  const found = /^\/v1\/([0-9a-f]{32})\/(have|put|get)$/.exec(request.target);
  if (found === null || request.method !== 'POST')
    throw new HoldfastError('not-found', 'this port takes POST /v1/SESSION/have, put and get');
  return { session: found[1] as string, verb: found[2] as Verb };
}

function requireLength({ request }: HttpCall, maxBytes: number): void {
  const announced = request.announcedBytes ?? 0;
  if (announced > maxBytes)
    throw new HoldfastError('too-large', `a body of ${announced} bytes is over the limit of ${maxBytes}`);
}

function enter(admitted: Admitted, connection: Connection, call: HttpCall): () => void {
  const leave = admitted.enter(() => call.destroy());
  connection.serve(admitted.activity);
  admitted.activity.callStarted(nowSeconds());
  return () => {
    admitted.activity.callEnded(nowSeconds());
    leave();
  };
}

/** Answers with the error. A body that is still on its way is read and thrown away, as far as that goes, so that the answer is received. */
async function refuse({ report }: BulkContext, { body, answer, destroy }: HttpCall, error: unknown): Promise<void> {
  const status = statusOf(error);
  if (!(error instanceof HoldfastError)) report(error);
  if (answer.isBegun) {
    destroy();
    return;
  }
  if (body.isWhole) {
    answerJson(answer, status, errorBody(error));
    return;
  }
  const text = Buffer.from(JSON.stringify(errorBody(error)));
  answer.begin(status, JSON_TYPE, text.length, text);
  await discard(body);
  answer.end();
}

function discard(body: RequestBody): Promise<void> {
  return new Promise((resolve) => {
    let bytes = 0;
    const timer = setTimeout(resolve, DISCARD_MS);
    const end = (): void => {
      clearTimeout(timer);
      resolve();
    };
    body.read({
      part: (part) => {
        bytes += part.length;
        if (bytes > DISCARD_BYTES) end();
      },
      end,
      lost: end,
    });
  });
}
