// A server of the object protocol for tests: two HTTPS listeners over a store in memory. It notes every call, and can cut lines, be slow, lie,
// and forget its sessions.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientPart } from '../../../src/schema/manifest.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import type { TestCertificate } from './certificate.ts';
import { hexIds, MemoryStore, type StoredSession } from './memory-store.ts';

export const SECRET = '01234567-89ab-cdef-0123-456789abcdef';

export interface BulkCall {
  readonly method: string;
  readonly session: string;
  /** Of have and get, in hexadecimal. */
  readonly ids: string[];
  /** Bytes of the body that came. */
  bytes: number;
  /** Ids of the records that were taken over, in order. */
  readonly taken: string[];
}

export interface Behaviour {
  /** Cuts the line when so many bytes of bodies came, and is then undefined. */
  cutAfterBytes: number | undefined;
  /** Cuts the line instead of answering; asked before each answer of the bulk listener. */
  cutAnswer: (call: BulkCall) => boolean;
  /** Answers something else than the protocol says. */
  lie: (call: BulkCall, answer: Buffer) => Buffer;
  /** Before each piece of a body is taken. */
  delayMs: number;
  /** An error instead of any bulk answer. */
  refuse: ((call: BulkCall) => HoldfastError | undefined) | undefined;
  /** Before a commit is made. */
  onCommit: () => void;
  /** Before a commit is answered, after it was made. */
  onCommitted: (request: IncomingMessage) => void;
}

const STATUS: Record<string, number> = {
  'session-gone': 404,
  'not-found': 404,
  aborted: 503,
  'quota-exceeded': 507,
  'disk-full': 507,
};

export class MemoryServer {
  readonly store = new MemoryStore();
  readonly calls: BulkCall[] = [];
  readonly apiCalls: { method: string; path: string; authorization: string | undefined; body: unknown }[] = [];
  readonly behaviour: Behaviour = {
    cutAfterBytes: undefined,
    cutAnswer: () => false,
    lie: (_, answer) => answer,
    delayMs: 0,
    refuse: undefined,
    onCommit: () => {},
    onCommitted: () => {},
  };
  readonly fingerprint: string;
  readonly #api: Server;
  readonly #bulk: Server;
  readonly #sockets = new Set<Socket>();
  limits = { 'have-ids': 4096, 'get-ids': 1024, 'put-bytes': 64 << 20, 'record-bytes': 17 << 20, 'idle-seconds': 900 };
  /** Lines that were cut on purpose. */
  cuts = 0;
  /** Told instead of the port of the bulk listener. */
  /** Whether clients hear that they need not ask. */
  tellsEmptyScope = false;
  announcedBulkPort: number | undefined;
  #start = 1;
  /** Plain bytes that came, of all connections. */
  bytesOfAll = 0;
  /** Plain bytes of both directions over the bulk listener, heads included; without those of lines that are still open. */
  #bulkBytes = 0;

  private constructor(certificate: TestCertificate) {
    this.fingerprint = certificate.fingerprint;
    this.#api = createServer(certificate, (request, response) => {
      this.#answerApi(request, response).catch(() => response.destroy());
    });
    this.#bulk = createServer(certificate, (request, response) => {
      this.#answerBulk(request, response).catch(() => response.destroy());
    });
    for (const server of [this.#api, this.#bulk]) {
      server.keepAliveTimeout = 60_000;
      server.on('secureConnection', (socket) => {
        this.#sockets.add(socket);
        socket.on('error', () => undefined);
        socket.on('data', (data: Buffer) => {
          this.bytesOfAll += data.length;
        });
        socket.once('close', () => {
          this.#sockets.delete(socket);
          if (server === this.#bulk) this.#bulkBytes += socket.bytesRead + socket.bytesWritten;
        });
      });
    }
  }

  static async start(certificate: TestCertificate): Promise<MemoryServer> {
    const server = new MemoryServer(certificate);
    for (const each of [server.#api, server.#bulk])
      await new Promise<void>((resolve) => each.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get port(): number {
    return (this.#api.address() as AddressInfo).port;
  }

  get bulkPort(): number {
    return (this.#bulk.address() as AddressInfo).port;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** Plain bytes of both directions over the bulk listener so far, heads included. */
  get bulkBytes(): number {
    const open = [...this.#sockets].filter((socket) => socket.localPort === this.bulkPort);
    return open.reduce((sum, socket) => sum + socket.bytesRead + socket.bytesWritten, this.#bulkBytes);
  }

  of(method: string): BulkCall[] {
    return this.calls.filter((call) => call.method === method);
  }

  /** As if the program ended and began again: lines are cut and sessions forgotten. */
  restart({ keepsLeftovers = true } = {}): void {
    this.#start++;
    for (const session of [...this.store.sessions.values()]) {
      if (keepsLeftovers) this.store.end(session);
      else this.store.sessions.delete(session.id);
    }
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all([this.#api, this.#bulk].map((each) => new Promise((resolve) => each.close(resolve))));
  }

  async #answerApi(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const body = await readAll(request);
      const value: unknown = body.length === 0 ? undefined : JSON.parse(body.toString());
      const { method = '', url = '' } = request;
      const { authorization } = request.headers;
      this.apiCalls.push({ method, path: url, authorization, body: value });
      const answer = this.#api1(request, method, url, value as Record<string, never>);
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ data: answer ?? null }));
    } catch (error) {
      answerError(response, error);
    }
  }

  #api1(request: IncomingMessage, method: string, url: string, body: Record<string, never>): unknown {
    if (url === '/api2/json/access/ticket') {
      if (body.password !== SECRET) throw Object.assign(new Error('authentication failure'), { status: 401 });
      return { username: body.username, ticket: 'PBS:ticket+/=', CSRFPreventionToken: 'csrf:1' };
    }
    const { authorization, cookie, csrfpreventiontoken } = request.headers;
    const byTicket =
      cookie === `PBSAuthCookie=${encodeURIComponent('PBS:ticket+/=')}` && csrfpreventiontoken === 'csrf:1';
    if (!byTicket && authorization !== `PBSAPIToken=root@pam!ci:${SECRET}`)
      throw Object.assign(new Error('authentication failure'), { status: 401 });
    const match = /^\/api2\/json\/admin\/datastore\/tank\/sessions(?:\/([0-9a-f]{32}))?(\/commit)?$/.exec(url);
    if (match === null) throw new HoldfastError('not-found', `no ${url}`);
    const [, id, commit] = match;
    if (id === undefined) return this.#open(body);
    const session = this.#session(id);
    if (commit !== undefined) {
      const { client, time } = body as unknown as { client: ClientPart; time?: number };
      this.behaviour.onCommit();
      const manifest = this.store.commit(session, client, time);
      this.behaviour.onCommitted(request);
      return { manifest, warnings: [] };
    }
    if (method === 'DELETE') this.store.end(session);
    return { session: id, 'server-start': this.#start };
  }

  #open(body: Record<string, unknown>) {
    const group = `${String(body['backup-type'])}/${String(body['backup-id'])}`;
    const common = (session: StoredSession) => ({
      session: session.id,
      token: session.token,
      'bulk-port': this.announcedBulkPort ?? this.bulkPort,
      'server-start': this.#start,
      'store-id': this.store.id,
      space: session.space,
      limits: this.limits,
    });
    if (body.kind === 'read') {
      const times = body['backup-times'] as number[];
      const manifests = (this.store.snapshots.get(group) ?? []).filter(({ server }) => times.includes(server.time));
      if (manifests.length !== times.length) throw new HoldfastError('not-found', `no such snapshot of ${group}`);
      return { ...common(this.store.openRead(group, manifests)), manifests };
    }
    const adopted = this.store.leftovers.get(group)?.size ?? 0;
    const session = this.store.openBackup(group, body.fingerprint as string | undefined);
    const bases = this.store.bases(group, session.space).map((manifest) => ({
      name: `${group}/${new Date(manifest.server.time * 1000).toISOString().replace('.000Z', 'Z')}`,
      sequence: manifest.server.sequence,
      manifest,
      damaged: this.store.damaged,
    }));
    const known = {
      bases,
      'adopted-objects': adopted,
      'scope-is-empty': this.tellsEmptyScope && session.scope.size === 0,
    };
    return { ...common(session), 'average-bytes': this.store.averageBytes, ...known };
  }

  #session(id: string): StoredSession {
    const session = this.store.sessions.get(id);
    if (session === undefined) throw new HoldfastError('session-gone', `session ${id} is not open`);
    return session;
  }

  async #answerBulk(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, version, id = '', method = ''] = (request.url ?? '').split('/');
    const call: BulkCall = { method, session: id, ids: [], bytes: 0, taken: [] };
    this.calls.push(call);
    try {
      if (version !== 'v1') throw new HoldfastError('not-found', 'no such version');
      const session = this.#session(id);
      if (request.headers.authorization !== `Bearer ${session.token}`)
        throw Object.assign(new Error('no such session token'), { status: 401 });
      const failure = this.behaviour.refuse?.(call);
      if (failure !== undefined) throw failure;
      const answer = this.behaviour.lie(call, await this.#bulk1(session, call, request));
      if (this.behaviour.cutAnswer(call)) {
        this.cuts++;
        request.socket.destroy();
      }
      response.setHeader('content-length', answer.length);
      response.end(answer);
    } catch (error) {
      answerError(response, error);
    }
  }

  async #bulk1(session: StoredSession, call: BulkCall, request: IncomingMessage): Promise<Buffer> {
    let held: Buffer = Buffer.alloc(0);
    for await (const part of request as AsyncIterable<Buffer>) {
      if (this.behaviour.delayMs > 0) await sleep(this.behaviour.delayMs);
      call.bytes += part.length;
      held = Buffer.concat([held, part]);
      if (call.method === 'put') held = this.#takeFrames(session, call, held);
      if (this.behaviour.cutAfterBytes !== undefined) {
        this.behaviour.cutAfterBytes -= part.length;
        if (this.behaviour.cutAfterBytes <= 0) {
          this.behaviour.cutAfterBytes = undefined;
          this.cuts++;
          request.socket.destroy();
          throw new Error('cut');
        }
      }
    }
    if (call.method === 'put') {
      if (held.length > 0) throw new HoldfastError('bad-argument', 'half a frame');
      return Buffer.from(JSON.stringify({ records: call.taken.length }));
    }
    call.ids.push(...hexIds(held));
    if (call.method === 'have') {
      const bitmap = Buffer.alloc(Math.ceil(call.ids.length / 8));
      call.ids.forEach((id, place) => {
        if (this.store.knows(session, id)) bitmap[place >> 3] |= 1 << (place & 7);
      });
      return bitmap;
    }
    return Buffer.concat(call.ids.flatMap((id) => frame(this.store.read(session, id))));
  }

  #takeFrames(session: StoredSession, call: BulkCall, bytes: Buffer): Buffer {
    let at = 0;
    while (at + 4 <= bytes.length) {
      const end = at + 4 + bytes.readUInt32LE(at);
      if (end > bytes.length) break;
      const record = bytes.subarray(at + 4, end);
      this.store.take(session, record);
      call.taken.push(Buffer.from(record.subarray(24, 56)).toString('hex'));
      at = end;
    }
    return Buffer.from(bytes.subarray(at));
  }
}

export function frame(record: Uint8Array): Buffer[] {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(record.length);
  return [length, Buffer.from(record)];
}

function answerError(response: ServerResponse, error: unknown): void {
  if (error instanceof HoldfastError) {
    const { code, message, data } = error;
    response.writeHead(STATUS[code] ?? 400, { 'content-type': 'application/vnd.holdfast.error+json' });
    response.end(JSON.stringify({ code, message, data }));
    return;
  }
  response.writeHead((error as { status?: number }).status ?? 500);
  response.end((error as Error).message);
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}
