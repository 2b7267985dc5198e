// kill -9 of the server while clients put: what was sealed or written out is taken over by the next session of the group, nothing wrong is
// stored, no lock stays, and the backup comes to its end.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { OpenedSession } from '../../../src/transport/server/session-answers.ts';
import { temporaryDirectory } from '../../datastore/fixture.ts';
import { createTemporaryStore, NO_SIGNAL } from '../../support/store.ts';
import { bundle } from '../../util/bundle.ts';
import { ALICE, framed, makeImage, Rig, STORE, throwawayCertificate } from './rig.ts';

const DIST = fileURLToPath(new URL('../../../dist/', import.meta.url));

const PROGRAM = `
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { HeldDatastore } from './datastore/held-datastore.ts';
import { BulkListener } from './transport/server/bulk-listener.ts';
import { TransportSessions } from './transport/server/sessions.ts';
import { WorkerPool } from './util/worker-pool.ts';
const [root, dist, certificate] = process.argv.slice(2);
const { duplicate } = createRequire(import.meta.url)(dist + 'file-calls.node');
const report = (error) => console.error(error);
const pool = WorkerPool.start(new URL('file://' + dist + 'worker.js'), 2);
const store = await HeldDatastore.open(root, pool);
const options = { pool, address: '127.0.0.1', port: 0, certificate: JSON.parse(readFileSync(certificate)), duplicate, report };
const listener = await BulkListener.start(options);
const sessions = new TransportSessions({ report });
sessions.addStore({ name: '${STORE}', store, pool, bulkPort: listener.port });
const body = { kind: 'backup', 'backup-type': 'vm', 'backup-id': '101' };
console.log(JSON.stringify(await sessions.open('${STORE}', { authId: '${ALICE}' }, body)));
`;

interface Server {
  readonly process: ChildProcess;
  readonly opened: OpenedSession;
}

async function startServer(t: TestContext, root: string, program: URL, certificate: string): Promise<Server> {
  const child = spawn(process.execPath, [fileURLToPath(program), root, DIST, certificate], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => void child.kill('SIGKILL'));
  const [line] = (await once(createInterface(child.stdout!), 'line')) as [string];
  return { process: child, opened: JSON.parse(line) as OpenedSession };
}

/** The status of a put; undefined when the line broke. */
function put({ opened }: Server, agent: Agent, body: Buffer): Promise<number | undefined> {
  return new Promise((resolve) => {
    const headers = { authorization: `Bearer ${opened.token}`, 'content-length': body.length };
    const path = `/v1/${opened.session}/put`;
    const target = { host: '127.0.0.1', port: opened['bulk-port'], agent, method: 'POST', path, headers };
    const call = request(target, (response) => {
      response.resume();
      response.on('error', () => resolve(undefined));
      response.on('end', () => resolve(response.statusCode));
    });
    call.on('error', () => resolve(undefined));
    call.end(body);
  });
}

test('a server that is killed while clients put is started again, and the backup goes on', async (t) => {
  const { root, remove } = await createTemporaryStore();
  t.after(remove);
  const program = await bundle(t, PROGRAM);
  const certificate = join(temporaryDirectory(t), 'certificate.json');
  writeFileSync(certificate, JSON.stringify(await throwawayCertificate()));
  const image = makeImage(Array.from({ length: 400 }, () => randomBytes(60_000)));
  // Each thread has written out several buffers of 4 MiB by then, and has something in one.
  for (const killAfter of [60, 200, 380]) {
    const server = await startServer(t, root, program, certificate);
    const agent = new Agent({ keepAlive: true, rejectUnauthorized: false });
    const queue = [...image.chunks];
    let answered = 0;
    const send = async (): Promise<void> => {
      for (let batch = queue.splice(0, 8); batch.length > 0; batch = queue.splice(0, 8)) {
        const status = await put(server, agent, framed(batch));
        if (status === undefined) return;
        assert.equal(status, 200);
        answered += batch.length;
      }
    };
    const sending = Promise.all([send(), send(), send()]);
    while (answered < killAfter) await setTimeout(1);
    server.process.kill('SIGKILL');
    await once(server.process, 'close');
    await sending;
    agent.destroy();
  }
  const rig = await Rig.start({ root });
  try {
    const client = await rig.backup();
    const known = await client.have(...image.chunks.map(({ id }) => id));
    const found = known.filter(Boolean).length;
    assert.ok(found > 100 && client.opened['adopted-objects']! >= found, `${found} of ${known.length}`);
    assert.equal(
      (await client.put(...image.chunks.filter((_, place) => !known[place]), image.page, image.list)).status,
      200,
    );
    const { manifest } = await client.commit(image);
    const verify = { snapshot: null, provedSinceMs: Date.now() + 1e9, rateLimitBytes: null };
    const report = await rig.open.store.verify(verify, { signal: NO_SIGNAL, onProgress: () => {} });
    assert.deepEqual([report.copiesDamaged, report.objectsMissing, report.damaged], [0, 0, []]);
    const reader = await rig.read([manifest.server.time]);
    const [, , ...chunks] = await reader.get(...[image.list, image.page, ...image.chunks].map(({ id }) => id));
    assert.deepEqual(
      chunks,
      image.chunks.map(({ record }) => record),
    );
    assert.deepEqual(rig.reported, []);
  } finally {
    await rig.stop();
  }
});
