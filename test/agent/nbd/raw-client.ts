// An NBD client that sends whatever a test wants, well-formed or not, and reads what comes back byte by byte.
import net from 'node:net';
import * as nbd from '../../../src/agent/nbd/protocol.ts';
import { u } from './fake-server.ts';
import type { Ending } from './servers.ts';

export interface RawChunk {
  readonly type: number;
  readonly isLast: boolean;
  readonly cookie: bigint;
  readonly payload: Buffer;
}

export class RawClient {
  readonly socket: net.Socket;
  #bytes = Buffer.alloc(0);
  #isClosed = false;
  #wake: (() => void) | undefined;

  private constructor(t: Ending, path: string) {
    this.socket = net.connect(path);
    this.socket.on('data', (bytes) => {
      this.#bytes = Buffer.concat([this.#bytes, bytes]);
      this.#wake?.();
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.#isClosed = true;
      this.#wake?.();
    });
    t.after(() => void this.socket.destroy());
  }

  /** Connects and reads the greeting. */
  static async connect(t: Ending, path: string, clientFlags: number | undefined = 3): Promise<RawClient> {
    const client = new RawClient(t, path);
    await client.take(18);
    if (clientFlags !== undefined) client.send(u([32, clientFlags]));
    return client;
  }

  /** Connects and enters an export, with structured replies and block status unless told otherwise. */
  static async enter(t: Ending, path: string, name: string, isStructured = true): Promise<RawClient> {
    const client = await RawClient.connect(t, path);
    if (isStructured) {
      await client.option(nbd.OPTION.structuredReply);
      await client.option(nbd.OPTION.setMetaContext, nbd.encodeMetaContexts(name, [nbd.BASE_ALLOCATION]));
    }
    await client.option(nbd.OPTION.go, nbd.encodeGo(name));
    return client;
  }

  send(...bytes: Uint8Array[]): void {
    this.socket.write(Buffer.concat(bytes));
  }

  /** Rejects when the server closes the connection before. */
  async take(length: number): Promise<Buffer> {
    while (this.#bytes.length < length) {
      if (this.#isClosed) throw new Error(`closed after ${this.#bytes.length} of ${length} bytes`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const taken = this.#bytes.subarray(0, length);
    this.#bytes = this.#bytes.subarray(length);
    return taken;
  }

  /** Settles when the server has closed the connection; what it sent before is dropped. */
  async closed(): Promise<void> {
    while (!this.#isClosed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Sends an option and reads its replies, up to the ACK or error. Types as they are on the wire. */
  async option(option: number, data: Uint8Array = new Uint8Array(0)): Promise<{ type: number; payload: Buffer }[]> {
    this.send(nbd.encodeOption(option, data));
    const replies: { type: number; payload: Buffer }[] = [];
    for (;;) {
      const header = await this.take(20);
      const type = header.readUInt32BE(12);
      replies.push({ type, payload: await this.take(header.readUInt32BE(16)) });
      if (type === nbd.REPLY.ack || type >= nbd.OPTION_ERROR) return replies;
    }
  }

  request(command: number, cookie: number, offset: number | bigint, length: number, flags = 0): void {
    this.send(u([32, nbd.REQUEST_MAGIC], [16, flags], [16, command], [64, cookie], [64, offset], [32, length]));
  }

  async chunk(): Promise<RawChunk> {
    const header = await this.take(20);
    if (header.readUInt32BE(0) !== nbd.STRUCTURED_REPLY_MAGIC) throw new Error(`no chunk: ${header.toString('hex')}`);
    return {
      type: header.readUInt16BE(6),
      isLast: (header.readUInt16BE(4) & nbd.CHUNK_FLAG_DONE) !== 0,
      cookie: header.readBigUInt64BE(8),
      payload: await this.take(header.readUInt32BE(16)),
    };
  }

  async simple(length = 0): Promise<{ errno: number; cookie: bigint; data: Buffer }> {
    const header = await this.take(16);
    if (header.readUInt32BE(0) !== nbd.SIMPLE_REPLY_MAGIC) throw new Error(`no reply: ${header.toString('hex')}`);
    const errno = header.readUInt32BE(4);
    return { errno, cookie: header.readBigUInt64BE(8), data: await this.take(errno === 0 ? length : 0) };
  }
}
