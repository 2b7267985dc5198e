// A server in memory, threads of the real worker program, and a client of the one for the other.
import type { TestContext } from 'node:test';
import { type RemoteOptions, RemoteStore } from '../../../src/transport/client/remote-store.ts';
import { WorkerPool } from '../../../src/util/worker-pool.ts';
import { makeCertificate, type TestCertificate } from './certificate.ts';
import { MemoryServer, SECRET } from './memory-server.ts';

const WORKER = new URL('../../../dist/worker.js', import.meta.url);
const made = makeCertificate('holdfast test');

export async function startServer(t: TestContext, certificate?: TestCertificate): Promise<MemoryServer> {
  const server = await MemoryServer.start(certificate ?? (await made));
  t.after(() => server.close());
  return server;
}

export function connect(t: TestContext, server: MemoryServer, options: Partial<RemoteOptions> = {}): RemoteStore {
  const address = { user: 'root@pam', token: 'ci', host: '127.0.0.1', port: server.port, store: 'tank' };
  const signal = new AbortController().signal;
  const store = new RemoteStore(
    address,
    { secret: SECRET, fingerprint: server.fingerprint },
    { signal, patienceMs: 5000, ...options },
  );
  t.after(() => store.close());
  return store;
}

export function startThreads(t: TestContext, size = 2): WorkerPool {
  const pool = WorkerPool.start(WORKER, size);
  t.after(() => pool.close());
  return pool;
}
