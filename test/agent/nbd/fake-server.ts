// An NBD server that answers requests as a test tells it to, well or badly.
import net from 'node:net';
import { join } from 'node:path';
import * as nbd from '../../../src/agent/nbd/protocol.ts';
import { type Ending, scratch } from './servers.ts';

export interface FakeRequest {
  command: number;
  cookie: bigint;
  offset: number;
  length: number;
}

export interface FakeOptions {
  sizeBytes: number;
  structured?: boolean;
  contexts?: string[];
  minimumBlock?: number;
  /** Answers one request; what it returns is sent as it is. */
  reply(request: FakeRequest, socket: net.Socket): Uint8Array[] | undefined;
  /** Replaces the greeting. */
  greeting?: Uint8Array;
  /** Replaces the answer to an option. */
  option?(option: number): Uint8Array | undefined;
}

export function u(...parts: [bits: 16 | 32 | 64, value: number | bigint][]): Buffer {
  return Buffer.concat(
    parts.map(([bits, value]) => {
      const bytes = Buffer.alloc(bits / 8);
      if (bits === 64) bytes.writeBigUInt64BE(BigInt(value));
      else bytes.writeUIntBE(Number(value), 0, bits / 8);
      return bytes;
    }),
  );
}

export function chunk(cookie: bigint, type: number, payload: Uint8Array, flags = 0): Buffer {
  return Buffer.concat([
    u([32, nbd.STRUCTURED_REPLY_MAGIC], [16, flags], [16, type], [64, cookie], [32, payload.length]),
    payload,
  ]);
}

export function data(cookie: bigint, offset: number, bytes: Uint8Array, flags = 0): Buffer {
  return chunk(cookie, nbd.CHUNK.offsetData, Buffer.concat([u([64, offset]), bytes]), flags);
}

export function hole(cookie: bigint, offset: number, length: number, flags = 0): Buffer {
  return chunk(cookie, nbd.CHUNK.offsetHole, u([64, offset], [32, length]), flags);
}

export function simple(cookie: bigint, errno: number, bytes: Uint8Array = new Uint8Array(0)): Buffer {
  return Buffer.concat([u([32, nbd.SIMPLE_REPLY_MAGIC], [32, errno], [64, cookie]), bytes]);
}

export function failure(cookie: bigint, errno: number, text: string, flags = nbd.CHUNK_FLAG_DONE): Buffer {
  return chunk(cookie, 0x8001, Buffer.concat([u([32, errno], [16, text.length]), Buffer.from(text)]), flags);
}

export function status(
  cookie: bigint,
  contextId: number,
  extents: [number, number][],
  flags = nbd.CHUNK_FLAG_DONE,
): Buffer {
  const pairs = extents.flatMap(([length, state]) => [u([32, length], [32, state])]);
  return chunk(cookie, nbd.CHUNK.blockStatus, Buffer.concat([u([32, contextId]), ...pairs]), flags);
}

export function optionReply(option: number, type: number, payload: Uint8Array = new Uint8Array(0)): Buffer {
  return Buffer.concat([u([64, nbd.OPTION_REPLY_MAGIC], [32, option], [32, type], [32, payload.length]), payload]);
}

function answerOption(options: FakeOptions, option: number): Uint8Array {
  const { structured = true, contexts = [], sizeBytes, minimumBlock = 1 } = options;
  const ack = optionReply(option, nbd.REPLY.ack);
  if (option === nbd.OPTION.structuredReply) return structured ? ack : optionReply(option, 0x80000001);
  if (option === nbd.OPTION.setMetaContext) {
    const granted = contexts.map((name, id) =>
      optionReply(option, nbd.REPLY.metaContext, Buffer.concat([u([32, id + 1]), Buffer.from(name)])),
    );
    return Buffer.concat([...granted, ack]);
  }
  const size = optionReply(option, nbd.REPLY.info, u([16, nbd.INFO.export], [64, sizeBytes], [16, 3]));
  const blocks = u([16, nbd.INFO.blockSize], [32, minimumBlock], [32, Math.max(4096, minimumBlock)], [32, 32 << 20]);
  return Buffer.concat([size, optionReply(option, nbd.REPLY.info, blocks), ack]);
}

/** Handshake first, then `reply`. Returns the socket's path. */
export async function fakeServer(t: Ending, options: FakeOptions): Promise<string> {
  const path = join(scratch(t), 's');
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.write(options.greeting ?? u([64, nbd.NBD_MAGIC], [64, nbd.OPTION_MAGIC], [16, 3]));
    let input = Buffer.alloc(0);
    let stage: 'flags' | 'options' | 'requests' = 'flags';
    socket.on('data', (bytes: Buffer) => {
      input = Buffer.concat([input, bytes]);
      for (;;) {
        if (stage === 'flags' && input.length >= 4) {
          input = input.subarray(4);
          stage = 'options';
        } else if (stage === 'options' && input.length >= 16 && input.length >= 16 + input.readUInt32BE(12)) {
          const option = input.readUInt32BE(8);
          input = input.subarray(16 + input.readUInt32BE(12));
          socket.write(options.option?.(option) ?? answerOption(options, option));
          if (option === nbd.OPTION.go) stage = 'requests';
        } else if (stage === 'requests' && input.length >= nbd.REQUEST_BYTES) {
          const request = {
            command: input.readUInt16BE(6),
            cookie: input.readBigUInt64BE(8),
            offset: Number(input.readBigUInt64BE(16)),
            length: input.readUInt32BE(24),
          };
          input = input.subarray(nbd.REQUEST_BYTES);
          if (request.command === nbd.COMMAND.disconnect) return socket.end();
          for (const part of options.reply(request, socket) ?? []) socket.write(part);
        } else {
          return;
        }
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return path;
}
