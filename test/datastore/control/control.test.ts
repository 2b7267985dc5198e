// The control socket between two ends on a real store: answers, progress, errors, aborts on either side, and hostile input.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Type } from 'typebox';
import { askHolder } from '../../../src/datastore/control/control-client.ts';
import { ControlServer } from '../../../src/datastore/control/control-server.ts';
import type { Operation, Work } from '../../../src/datastore/control/operation.ts';
import { controlSocketPath } from '../../../src/datastore/control/socket-path.ts';
import { Layout } from '../../../src/datastore/layout.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { createTemporaryStore, NO_SIGNAL, OpenStore } from '../../support/store.ts';

let root: string;
let remove: () => Promise<void>;
let open: OpenStore;
let layout: Layout;
let control: ControlServer | undefined;

beforeEach(async () => {
  ({ root, remove } = await createTemporaryStore());
  open = await OpenStore.open(root, 1);
  layout = new Layout(root);
});

afterEach(async () => {
  await control?.close();
  control = undefined;
  await open.crash();
  await remove();
});

function deferred<Value>(): { promise: Promise<Value>; resolve: (value: Value) => void } {
  let resolve: (value: Value) => void = () => {};
  const promise = new Promise<Value>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

const quiet: Work = { signal: NO_SIGNAL, onProgress: () => {}, warn: () => {} };

const echo: Operation<{ value: unknown }, { store: string; value: unknown }> = {
  name: 'echo',
  answer: Type.Unknown(),
  run: async (store, { value }, work) => {
    work.onProgress('echo', 1, undefined);
    work.warn('an echo');
    return { store: store.config.store, value };
  },
};

const fail: Operation<null, never> = {
  name: 'fail',
  answer: Type.Never(),
  run: async () => {
    throw new HoldfastError('protected', 'it is protected', { data: { by: 'test' } });
  },
};

/** Runs until it is aborted, and says how that went. */
function endless(): { operation: Operation<null, null>; started: Promise<void>; reason: Promise<unknown> } {
  const started = deferred<void>();
  const reason = deferred<unknown>();
  const run: Operation<null, null>['run'] = async (_, __, { signal }) => {
    started.resolve();
    await once(signal, 'abort');
    reason.resolve(signal.reason);
    throw signal.reason;
  };
  return { operation: { name: 'endless', answer: Type.Null(), run }, started: started.promise, reason: reason.promise };
}

async function listen(...operations: Operation<never, unknown>[]): Promise<void> {
  control = await ControlServer.start(open.store, layout, new Map(operations.map((each) => [each.name, each])));
}

test('the answer, progress and warnings arrive', async () => {
  await listen(echo);
  const seen: unknown[] = [];
  const work: Work = {
    signal: NO_SIGNAL,
    onProgress: (...all) => seen.push(all),
    warn: (text) => seen.push(text),
  };
  const value = { text: 'ä\n"x"', list: [1, null] };
  assert.deepEqual(await askHolder(layout, echo, { value }, work), {
    result: { store: open.store.config.store, value },
  });
  assert.deepEqual(seen, [['echo', 1, undefined], 'an echo']);
});

test('an error keeps its code and data', async () => {
  await listen(fail);
  await assert.rejects(askHolder(layout, fail, null, quiet), { code: 'protected', data: { by: 'test' } });
});

test('an operation that the holder does not have is said', async () => {
  await listen(echo);
  await assert.rejects(askHolder(layout, fail, null, quiet), { code: 'bad-argument', message: /does not know fail/ });
});

test('several at once, each on its own', async () => {
  await listen(echo);
  const values = Array.from({ length: 12 }, (_, value) => value);
  const answers = await Promise.all(values.map((value) => askHolder(layout, echo, { value }, quiet)));
  assert.deepEqual(
    answers.map((answer) => answer?.result.value),
    values,
  );
});

test('whoever asked and goes away ends the operation; others are not touched', async () => {
  const { operation, started, reason } = endless();
  await listen(operation, echo);
  const going = new AbortController();
  const asked = askHolder(layout, operation, null, { ...quiet, signal: going.signal });
  await started;
  going.abort(new HoldfastError('aborted', 'Ctrl-C'));
  await assert.rejects(asked, { code: 'aborted', message: 'Ctrl-C' });
  assert.equal(((await reason) as HoldfastError).code, 'aborted');
  assert.ok(await askHolder(layout, echo, { value: 1 }, quiet));
});

test('a holder that ends aborts what runs, which is then no answer; the socket is gone', async () => {
  const { operation, started } = endless();
  await listen(operation);
  const asked = askHolder(layout, operation, null, quiet);
  await started;
  await control?.close();
  control = undefined;
  assert.equal(await asked, undefined);
  assert.equal(existsSync(controlSocketPath(layout.root)), false);
  assert.equal(await askHolder(layout, operation, null, quiet), undefined, 'nobody listens');
});

test('what ends by itself within the grace is answered', async () => {
  const started = deferred<void>();
  const slow: Operation<null, string> = {
    name: 'slow',
    answer: Type.String(),
    run: async () => {
      started.resolve();
      await sleep(300);
      return 'done';
    },
  };
  await listen(slow);
  const asked = askHolder(layout, slow, null, quiet);
  await started.promise;
  await control?.close();
  control = undefined;
  assert.deepEqual(await asked, { result: 'done' });
});

test('a socket that a dead process left is replaced; only the owner may connect', async () => {
  writeFileSync(controlSocketPath(layout.root), '');
  assert.equal(await askHolder(layout, echo, { value: 1 }, quiet), undefined);
  await listen(echo);
  assert.equal(statSync(controlSocketPath(layout.root)).mode & 0o777, 0o600);
  assert.ok(await askHolder(layout, echo, { value: 1 }, quiet));
});

test('garbage, two requests, and a request that is too long break their own connection only', async () => {
  await listen(echo);
  const request = `${JSON.stringify({ operation: 'echo', argument: { value: 1 } })}\n`;
  for (const bytes of ['no JSON\n', `${request}${request}`, 'x'.repeat((1 << 20) + 2)]) {
    const socket = connect(controlSocketPath(layout.root));
    socket.on('error', () => {});
    socket.resume();
    socket.write(bytes);
    await once(socket, 'close');
  }
  assert.ok(await askHolder(layout, echo, { value: 1 }, quiet));
});

test('a store with a path longer than a socket address takes', async () => {
  const deep = join(root, ...Array.from({ length: 4 }, () => randomUUID()));
  mkdirSync(deep, { recursive: true });
  layout = new Layout(deep);
  await listen(echo);
  assert.ok(existsSync(controlSocketPath(layout.root)));
  assert.ok(await askHolder(layout, echo, { value: 1 }, quiet));
});
