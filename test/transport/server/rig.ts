// A server side of the object protocol over a real store: threads, TLS with a throwaway certificate, sessions, and raw clients.
import { Agent, request as httpsRequest } from 'node:https';
import { generate } from 'selfsigned';
import { loadFileCalls } from '../../../src/agent/tree/file-calls.ts';
import { encodeList } from '../../../src/chunker/list.ts';
import { Kind, type ObjectId } from '../../../src/chunker/object.ts';
import { PageBuilder } from '../../../src/chunker/page.ts';
import { BulkListener } from '../../../src/transport/server/bulk-listener.ts';
import type { Certificate } from '../../../src/transport/server/bulk-thread.ts';
import type { OpenedSession } from '../../../src/transport/server/session-answers.ts';
import { type SessionsOptions, TransportSessions } from '../../../src/transport/server/sessions.ts';
import { type MadeRecord, makeRecord } from '../../datastore/fixture.ts';
import { clientPart, createTemporaryStore, OpenStore } from '../../support/store.ts';

export const STORE = 'main';
export const ALICE = 'alice@pbs';
export const EVE = 'eve@pbs';

export async function throwawayCertificate(name = 'localhost'): Promise<Certificate> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: name }], { keyType: 'ec' });
  return { cert, key };
}

let shared: Promise<Certificate> | undefined;
const certificateOnce = (): Promise<Certificate> => (shared ??= throwawayCertificate());

export interface BulkAnswer {
  readonly status: number;
  readonly body: Buffer;
  /** Of an answer in JSON. */
  readonly json: { code?: string; message?: string; records?: number; data?: Record<string, unknown> };
}

export interface RigOptions {
  readonly threads?: number;
  readonly sessions?: Partial<SessionsOptions>;
  readonly idleConnectionMs?: number;
  /** Of an existing store; without it one is made, and removed at the end. */
  readonly root?: string;
}

export class Rig {
  readonly root: string;
  readonly open: OpenStore;
  readonly listener: BulkListener;
  readonly sessions: TransportSessions;
  /** What the server reported as its own trouble. */
  readonly reported: unknown[];
  readonly agent = new Agent({ keepAlive: true, rejectUnauthorized: false, maxSockets: 64 });
  readonly #remove: () => Promise<void>;

  private constructor(
    parts: Pick<Rig, 'root' | 'open' | 'listener' | 'sessions' | 'reported'>,
    remove: () => Promise<void>,
  ) {
    this.root = parts.root;
    this.open = parts.open;
    this.listener = parts.listener;
    this.sessions = parts.sessions;
    this.reported = parts.reported;
    this.#remove = remove;
  }

  static async start(options: RigOptions = {}): Promise<Rig> {
    const made = options.root === undefined ? await createTemporaryStore() : undefined;
    const root = options.root ?? (made as { root: string }).root;
    const reported: unknown[] = [];
    const report = (error: unknown): void => void reported.push(error);
    const open = await OpenStore.open(root, options.threads ?? 2, (event, argument) => {
      if (event === 'bulk.failed') report(argument);
    });
    const { pool, store } = open;
    const { duplicate } = loadFileCalls();
    const { idleConnectionMs } = options;
    const listener = await BulkListener.start({
      ...{ pool, address: '127.0.0.1', port: 0, certificate: await certificateOnce(), duplicate, report },
      ...(idleConnectionMs === undefined ? {} : { idleConnectionMs }),
    });
    const sessions = new TransportSessions({ report, ...options.sessions });
    sessions.addStore({ name: STORE, store, pool, bulkPort: listener.port });
    return new Rig({ root, open, listener, sessions, reported }, made?.remove ?? (async () => {}));
  }

  async stop(): Promise<void> {
    this.agent.destroy();
    await this.sessions.close();
    await this.listener.stop();
    await this.open.close();
    await this.#remove();
  }

  async backup(options: { group?: string; authId?: string; fingerprint?: string } = {}): Promise<Client> {
    const { group = 'vm/101', authId = ALICE, fingerprint } = options;
    const [type, id] = group.split('/');
    const body = { kind: 'backup', 'backup-type': type, 'backup-id': id, fingerprint };
    const opened = await this.sessions.open(STORE, { authId }, JSON.parse(JSON.stringify(body)));
    return new Client(this, opened, authId, group);
  }

  async read(times: readonly number[], options: { group?: string; authId?: string } = {}): Promise<Client> {
    const { group = 'vm/101', authId = ALICE } = options;
    const [type, id] = group.split('/');
    const body = { kind: 'read', 'backup-type': type, 'backup-id': id, 'backup-times': times };
    return new Client(this, await this.sessions.open(STORE, { authId }, body), authId, group);
  }

  /** One call with any path, token and body. */
  call(path: string, token: string | undefined, body: Uint8Array, agent: Agent = this.agent): Promise<BulkAnswer> {
    return new Promise((resolve, reject) => {
      const headers = {
        'content-length': body.length,
        'content-type': 'application/octet-stream',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      };
      const call = httpsRequest(
        { host: '127.0.0.1', port: this.listener.port, agent, method: 'POST', path, headers },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            const bytes = Buffer.concat(chunks);
            const isJson = response.headers['content-type'] === 'application/json';
            resolve({
              status: response.statusCode as number,
              body: bytes,
              json: isJson ? JSON.parse(bytes.toString()) : {},
            });
          });
        },
      );
      call.on('error', reject);
      call.end(body);
    });
  }
}

/** A client with one session. */
export class Client {
  readonly rig: Rig;
  readonly opened: OpenedSession;
  readonly authId: string;
  readonly group: string;

  constructor(rig: Rig, opened: OpenedSession, authId: string, group: string) {
    this.rig = rig;
    this.opened = opened;
    this.authId = authId;
    this.group = group;
  }

  get id(): string {
    return this.opened.session;
  }

  bulk(verb: string, body: Uint8Array, agent?: Agent): Promise<BulkAnswer> {
    return this.rig.call(`/v1/${this.id}/${verb}`, this.opened.token, body, agent);
  }

  put(...records: readonly (MadeRecord | Uint8Array)[]): Promise<BulkAnswer> {
    return this.bulk('put', framed(records));
  }

  async have(...ids: readonly Uint8Array[]): Promise<boolean[]> {
    const { status, body } = await this.bulk('have', Buffer.concat(ids));
    if (status !== 200) throw new Error(`have: ${status} ${body}`);
    return ids.map((_, place) => (((body[place >> 3] as number) >> (place & 7)) & 1) === 1);
  }

  /** Records, undefined for those that cannot be had. */
  async get(...ids: readonly Uint8Array[]): Promise<(Buffer | undefined)[]> {
    const { status, body } = await this.bulk('get', Buffer.concat(ids));
    if (status !== 200) throw new Error(`get: ${status} ${body}`);
    return unframed(body);
  }

  /** Puts an image of these chunks; returns its list, page and chunks. */
  async putImage(contents: readonly (string | Uint8Array)[]): Promise<Image> {
    const image = makeImage(contents);
    const { status, body } = await this.put(...image.all);
    if (status !== 200) throw new Error(`put: ${status} ${body}`);
    return image;
  }

  async commit(image: Image): ReturnType<TransportSessions['commit']> {
    const client = clientPart(image.list.id, image.sizeBytes, this.group);
    return await this.rig.sessions.commit(STORE, { authId: this.authId }, this.id, { client });
  }

  async counters(): Promise<readonly number[]> {
    const { counters } = await this.rig.sessions.describe(STORE, { authId: this.authId }, this.id);
    return Object.values(counters);
  }

  async end(): Promise<void> {
    await this.rig.sessions.end(STORE, { authId: this.authId }, this.id);
  }
}

export interface Image {
  readonly list: MadeRecord;
  readonly page: MadeRecord;
  readonly chunks: readonly MadeRecord[];
  /** Children before parents. */
  readonly all: readonly MadeRecord[];
  readonly sizeBytes: number;
}

export function makeImage(contents: readonly (string | Uint8Array)[]): Image {
  const payloads = contents.map((each) => Buffer.from(each as string));
  const chunks = payloads.map((payload) => makeRecord(payload));
  const builder = new PageBuilder();
  for (const [place, { id }] of chunks.entries()) builder.addData((payloads[place] as Buffer).length, id);
  const finished = builder.finish();
  const page = makeRecord(finished.payload, Kind.page, finished.refs);
  const sizeBytes = payloads.reduce((sum, each) => sum + each.length, 0);
  const root = encodeList({
    childKind: Kind.page,
    height: 1,
    entries: [{ length: sizeBytes, id: page.id as ObjectId }],
  });
  const list = makeRecord(root.payload, Kind.list, root.refs);
  return { list, page, chunks, all: [...chunks, page, list], sizeBytes };
}

export function framed(records: readonly (MadeRecord | Uint8Array)[]): Buffer {
  return Buffer.concat(
    records.flatMap((each) => {
      const record = 'record' in each ? each.record : each;
      const length = Buffer.alloc(4);
      length.writeUInt32LE(record.length);
      return [length, record];
    }),
  );
}

export function unframed(body: Buffer): (Buffer | undefined)[] {
  const found: (Buffer | undefined)[] = [];
  for (let at = 0; at < body.length; ) {
    const length = body.readUInt32LE(at);
    found.push(length === 0 ? undefined : body.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return found;
}
