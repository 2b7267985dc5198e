// The bulk listener's part in a worker thread: takes connections that the main thread accepted, and answers the calls on them with the objects of this
// thread. No byte of a record leaves the thread on its way to the disk.
import { closeSync } from 'node:fs';
import { createSecureContext, DEFAULT_CIPHERS, type SecureContext } from 'node:tls';
import type { Handlers } from '../../util/worker-pool.ts';
import { Admission, type AdmittedSession } from './admission.ts';
import { answerBulkCall, type BulkContext } from './bulk-call.ts';
import { IDLE_CONNECTION_MS } from './bulk-limits.ts';
import type { BulkObjects } from './bulk-objects.ts';
import { Connection } from './connection.ts';
import { HttpConnection } from './http-connection.ts';
import { LargeRecords } from './large-records.ts';

/** How often it is looked which connections have taken too long. */
const CHECK_MS = 2000;

/** In PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface BulkListen extends Certificate {
  /** How many connections each thread has, counted up by whoever hands one over and down here. */
  readonly connections: SharedArrayBuffer;
  /** This thread's place in it. */
  readonly thread: number;
  /** Instead of the usual 60 seconds. */
  readonly idleConnectionMs?: number | undefined;
}

export class BulkThread {
  readonly #context: BulkContext;
  readonly #connections = new Set<HttpConnection>();
  /** Undefined while it does not listen. */
  #secureContext: SecureContext | undefined;
  #counts = new Int32Array(new SharedArrayBuffer(4));
  #thread = 0;
  #idleMs = IDLE_CONNECTION_MS;
  #checks: NodeJS.Timeout | undefined;

  /** `report` hears of mistakes of the program. */
  constructor(objects: BulkObjects, report: (error: unknown) => void) {
    this.#context = { objects, admission: new Admission(), large: new LargeRecords(), report };
  }

  handlers(): Handlers {
    const { admission } = this.#context;
    return {
      'bulk.listen': (listen: BulkListen) => this.#listen(listen),
      'bulk.connection': (fd: number) => this.#take(fd),
      'bulk.secure': (certificate: Certificate) => {
        this.#secureContext = secure(certificate);
      },
      'bulk.admit': (session: AdmittedSession) => admission.admit(session),
      'bulk.dismiss': (session: string) => admission.dismiss(session),
      'bulk.stop': () => this.#stop(),
    };
  }

  #listen({ connections, thread, idleConnectionMs = IDLE_CONNECTION_MS, ...certificate }: BulkListen): void {
    this.#secureContext = secure(certificate);
    this.#counts = new Int32Array(connections);
    this.#thread = thread;
    this.#idleMs = idleConnectionMs;
    this.#checks = setInterval(
      () => {
        for (const connection of this.#connections) connection.check();
      },
      Math.min(CHECK_MS, idleConnectionMs),
    ).unref();
  }

  #take(fd: number): void {
    const secureContext = this.#secureContext;
    const left = (): void => void Atomics.sub(this.#counts, this.#thread, 1);
    if (secureContext === undefined) {
      closeSync(fd);
      left();
      return;
    }
    const kept = new Connection();
    const connection = new HttpConnection({
      fd,
      secureContext,
      idleMs: this.#idleMs,
      answer: (call) => void answerBulkCall(this.#context, kept, call).catch(this.#context.report),
      closed: () => {
        this.#connections.delete(connection);
        kept.close();
        left();
      },
    });
    this.#connections.add(connection);
  }

  #stop(): void {
    this.#context.admission.dismissAll();
    this.#secureContext = undefined;
    clearInterval(this.#checks);
    for (const connection of this.#connections) connection.destroy();
  }
}

/** AES-128 first, as TLS 1.2 has it here anyway: with 256 bits, the usual first choice of TLS 1.3, each side takes a tenth of a second more for 2 GB. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  ...DEFAULT_CIPHERS.split(':').filter((name) => name !== 'TLS_AES_128_GCM_SHA256'),
];

function secure({ cert, key }: Certificate): SecureContext {
  return createSecureContext({ cert, key, minVersion: 'TLSv1.2', ciphers: CIPHERS.join(':'), honorCipherOrder: true });
}
