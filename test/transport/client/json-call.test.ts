// JSON calls on a connection that is a fake: what they ask of it, and answers that are none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Type } from 'typebox';
import type { Client, Dispatcher } from 'undici';
import { jsonCall } from '../../../src/transport/client/json-call.ts';

const NEVER = new AbortController().signal;
const ASK = { server: 'https://127.0.0.1:8007', method: 'GET', path: '/version?x=1', body: undefined } as const;
const Answer = Type.Object({ version: Type.String() });

/** A client that answers each call with this status and these parts, until one is refused. */
function answering(status: number, parts: Iterable<string | Buffer>) {
  const asked: Record<string, unknown>[] = [];
  const dispatch = (options: Record<string, unknown>, handler: Required<Dispatcher.DispatchHandler>): boolean => {
    asked.push(options);
    const controller = {
      abort: () => {},
      pause: () => {},
      resume: () => {},
    } as unknown as Dispatcher.DispatchController;
    handler.onRequestStart(controller, undefined);
    handler.onResponseStart(controller, status, {}, '');
    try {
      for (const part of parts) handler.onResponseData(controller, Buffer.from(part));
      handler.onResponseEnd(controller, {});
    } catch (error) {
      handler.onResponseError(controller, error as Error);
    }
    return true;
  };
  return { client: { dispatch } as unknown as Client, asked };
}

test('an answer may come in pieces; the limits of the line hold for it', async () => {
  const { client, asked } = answering(200, ['{"data":{"ver', 'sion":"1.0"}}']);
  assert.deepEqual(await jsonCall(client, ASK, Answer, NEVER), { version: '1.0' });
  const [call] = asked as [Record<string, unknown>];
  assert.equal(call.path, '/api2/json/version?x=1');
  assert.deepEqual([call.headersTimeout, call.bodyTimeout], [undefined, undefined]);
});

test('an answer of another form, one that refuses, and one without end are errors', async () => {
  const told = (status: number, ...parts: (string | Buffer)[]) =>
    jsonCall(answering(status, parts).client, ASK, Answer, NEVER);
  await assert.rejects(told(200, '{"data":{}}'), {
    code: 'protocol-failed',
    message: /^https:.*8007 answered GET \/version with JSON of another form \(it must have/,
  });
  await assert.rejects(told(200, 'hello'), { code: 'protocol-failed' });
  await assert.rejects(told(404, '{"code":"not-found","message":"no such thing"}'), { code: 'not-found' });
  const mib = Buffer.alloc(1024 * 1024, 'x');
  let sent = 0;
  function* endless(): Generator<Buffer> {
    for (; sent < 200; sent++) yield mib;
  }
  await assert.rejects(jsonCall(answering(200, endless()).client, ASK, Answer, NEVER), /has no end/);
  assert.equal(sent, 64);
});
