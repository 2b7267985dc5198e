// A QEMU without a machine that passes frames between a card's netdev and two UDP sockets: a frame that is sent to the one goes out as if
// a guest had sent it, what the guest would receive comes out of the other. Proves that QEMU takes the netdev and that packets pass.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/** Not `-S`: QEMU passes no frames while its machine is stopped. */
export class Guest {
  readonly received: Buffer[] = [];
  readonly #qemu: ChildProcess;
  readonly #socket: Socket;
  readonly #port: number;

  private constructor(qemu: ChildProcess, socket: Socket, port: number) {
    this.#qemu = qemu;
    this.#socket = socket;
    this.#port = port;
    socket.on('message', (frame) => this.received.push(frame));
  }

  /** Started, and its netdev taken; `port` and the next one are free. */
  static async start(netdev: Readonly<Record<string, unknown>>, port: number): Promise<Guest> {
    const socket = createSocket('udp4');
    socket.bind(port + 1, '127.0.0.1');
    await once(socket, 'listening');
    const udp = {
      type: 'dgram',
      id: 'udp',
      local: { type: 'inet', host: '127.0.0.1', port: String(port) },
      remote: { type: 'inet', host: '127.0.0.1', port: String(port + 1) },
    };
    const netdevs = [
      netdev,
      udp,
      { type: 'hubport', id: 'hub-a', hubid: 0, netdev: netdev.id },
      { type: 'hubport', id: 'hub-b', hubid: 0, netdev: 'udp' },
    ];
    const args = ['-machine', 'none', '-nodefaults', '-display', 'none', '-qmp', 'stdio'];
    const qemu = spawn(
      'qemu-system-x86_64',
      [...args, ...netdevs.flatMap((each) => ['-netdev', JSON.stringify(each)])],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
      },
    );
    let words = '';
    qemu.stderr!.on('data', (data: Buffer) => {
      words += data.toString();
    });
    const [greeting] = await Promise.race([once(qemu.stdout!, 'data'), once(qemu, 'exit').then(() => [''])]);
    assert.match(String(greeting), /QMP/, `QEMU did not start: ${words}`);
    return new Guest(qemu, socket, port);
  }

  send(frame: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.send(frame, this.#port, '127.0.0.1', (error) => (error ? reject(error) : resolve()));
    });
  }

  /** Whether a frame with this text comes in before `withinMs` have passed. */
  async receives(text: string, withinMs: number): Promise<boolean> {
    const end = Date.now() + withinMs;
    for (;;) {
      if (this.received.some((frame) => frame.includes(text))) return true;
      if (Date.now() >= end) return false;
      await sleep(5);
    }
  }

  async stop(): Promise<void> {
    this.#socket.close();
    const ended = this.#qemu.exitCode !== null || once(this.#qemu, 'exit');
    this.#qemu.kill('SIGKILL');
    await ended;
  }
}

/** A broadcast frame of a made-up type. With `vlan` as a guest tags it itself. */
export function frame(from: number, text: string, vlan?: number): Buffer {
  const head = Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, from]);
  const tag = vlan === undefined ? Buffer.alloc(0) : Buffer.from([0x81, 0, vlan >> 8, vlan & 0xff]);
  return Buffer.concat([head, tag, Buffer.from([0x88, 0xb5]), Buffer.from(text.padEnd(60))]);
}
