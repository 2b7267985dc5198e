// The test guest under QEMU without our lifecycle: for tests of what runs beside a guest, such as a backup. Everything lives in one
// scratch directory, whose owner ends the process, also when the tests are killed.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { command, Scratch } from '../power-cut/scratch.ts';
import { GuestPort } from './guest-port.ts';
import { type JsonLine, JsonSocket } from './json-socket.ts';
import { prepareTestGuest } from './test-guest.ts';

export interface RawDisk {
  /** Of its drive: the node names are `f-`, `d-` and `t-` before it, file, format and throttle. */
  readonly id: string;
  readonly path: string;
  readonly format: 'raw' | 'qcow2';
  /** Default scsi. */
  readonly bus?: 'scsi' | 'virtio';
}

export interface RawGuestOptions {
  readonly disks: readonly RawDisk[];
  /** Program and what comes before all other arguments; default the installed QEMU. */
  readonly qemu?: { readonly program: string; readonly args?: readonly string[]; readonly env?: NodeJS.ProcessEnv };
  readonly memoryMiB?: number;
  readonly processors?: number;
  /** With -S: the guest waits for `cont`. */
  readonly paused?: boolean;
  /** `hf.NAME=VALUE` on the kernel's command line: agent, freeze, acpi, ip, run. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Behind all others. */
  readonly args?: readonly string[];
}

export class RawGuest {
  /** Sockets: `qmp.sock`, `qmp-backup.sock`, `agent.sock`, `test.sock`, `serial.sock`; and `serial.log`. */
  readonly folder: string;
  readonly pid: number;
  readonly port: GuestPort;
  /** Resolves with QEMU's exit status, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  readonly #scratch: Scratch;
  readonly #monitor: JsonSocket;
  readonly #events: JsonLine[] = [];

  constructor(parts: {
    scratch: Scratch;
    pid: number;
    port: GuestPort;
    ended: Promise<number | string>;
    monitor: JsonSocket;
  }) {
    this.folder = parts.scratch.path;
    this.#scratch = parts.scratch;
    this.pid = parts.pid;
    this.port = parts.port;
    this.ended = parts.ended;
    this.#monitor = parts.monitor;
  }

  socket(name: 'qmp-backup' | 'agent' | 'test' | 'serial'): string {
    return join(this.folder, `${name}.sock`);
  }

  /** On the first monitor. @throws Error with QEMU's words. */
  async execute(name: string, args: object = {}): Promise<unknown> {
    this.#monitor.send(`${JSON.stringify({ execute: name, arguments: args })}\n`);
    for (;;) {
      const line = await this.#monitor.next(30_000);
      if (line.error !== undefined) throw new Error(`${name}: ${line.error.desc}`);
      if ('return' in line) return line.return;
      this.#events.push(line);
    }
  }

  /** Names of the events that came up to the last answer. */
  get events(): string[] {
    return this.#events.map((line) => line.event as string);
  }

  /** What the guest printed on its serial console. */
  console(): string {
    return readFileSync(join(this.folder, 'serial.log'), 'latin1');
  }

  /** Waits until the guest answers; how long that took. */
  async ready(timeoutMs = 60_000): Promise<number> {
    const started = performance.now();
    await this.port.ask('ping', timeoutMs);
    return performance.now() - started;
  }

  /** Ends QEMU at once and removes the directory. */
  async close(): Promise<void> {
    this.port.close();
    this.#monitor.close();
    try {
      process.kill(this.pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
    await this.ended;
    this.#scratch.dispose();
  }
}

/** Returns when QEMU's monitor answers; the guest boots meanwhile. */
export async function startRawGuest(options: RawGuestOptions): Promise<RawGuest> {
  const guest = await prepareTestGuest();
  const scratch = Scratch.create(16 << 20);
  const { program = 'qemu-system-x86_64', args = [], env = {} } = options.qemu ?? {};
  const settings = Object.entries(options.settings ?? {}).map(([name, value]) => `hf.${name}=${value}`);
  const child = spawn(
    program,
    [
      ...args,
      ...[
        '-accel',
        'tcg',
        '-cpu',
        'max',
        '-smp',
        String(options.processors ?? 1),
        '-m',
        String(options.memoryMiB ?? 192),
      ],
      ...['-no-user-config', '-nodefaults', '-display', 'none', '-action', 'shutdown=poweroff,reboot=reset'],
      ...['-pidfile', join(scratch.path, 'qemu.pid')],
      ...['-kernel', guest.kernel, '-initrd', guest.initrd, '-append', [guest.append, ...settings].join(' ')],
      ...['-qmp', listening(scratch, 'qmp'), '-qmp', listening(scratch, 'qmp-backup')],
      ...[
        '-chardev',
        `socket,id=serial,path=${join(scratch.path, 'serial.sock')},server=on,wait=off,logfile=${join(scratch.path, 'serial.log')}`,
      ],
      ...['-serial', 'chardev:serial', '-device', 'virtio-serial-pci', '-device', 'virtio-scsi-pci,id=scsihw0'],
      ...port(scratch, 'test', 'org.holdfast.test'),
      ...port(scratch, 'agent', 'org.qemu.guest_agent.0'),
      ...options.disks.flatMap(diskArguments),
      ...(options.paused ? ['-S'] : []),
      ...(options.args ?? []),
    ],
    { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...env } },
  );
  let words = '';
  child.stderr.on('data', (data: Buffer) => {
    words = `${words}${data}`.slice(-4096);
  });
  const ended = once(child, 'close').then(([status, signal]) => (status ?? signal) as number | string);
  try {
    const monitor = await connectSoon(join(scratch.path, 'qmp.sock'), child);
    await monitor.next(10_000);
    const test = await GuestPort.connect(join(scratch.path, 'test.sock'));
    const raw = new RawGuest({ scratch, pid: child.pid!, port: test, ended, monitor });
    await raw.execute('qmp_capabilities');
    return raw;
  } catch (error) {
    child.kill('SIGKILL');
    await ended.catch(() => undefined);
    scratch.dispose();
    throw new Error(`QEMU did not start: ${words.trim() || (error as Error).message}`, { cause: error });
  }
}

/** A file of zeros for a disk. */
export function createDisk(path: string, format: 'raw' | 'qcow2', sizeBytes: number): void {
  command('qemu-img', ['create', '-q', '-f', format, path, String(sizeBytes)]);
}

const listening = (scratch: Scratch, name: string) => `unix:${join(scratch.path, `${name}.sock`)},server=on,wait=off`;

function port(scratch: Scratch, id: string, name: string): string[] {
  const path = join(scratch.path, `${id}.sock`);
  return [
    ...['-chardev', `socket,id=${id},path=${path},server=on,wait=off`],
    ...['-device', `virtserialport,chardev=${id},name=${name}`],
  ];
}

function diskArguments({ id, path, format, bus = 'scsi' }: RawDisk): string[] {
  const file = { driver: 'file', 'node-name': `f-${id}`, filename: path, discard: 'unmap' };
  const node = { driver: format, 'node-name': `d-${id}`, file: `f-${id}`, discard: 'unmap' };
  const throttle = {
    driver: 'throttle',
    'node-name': `t-${id}`,
    'throttle-group': `g-${id}`,
    file: `d-${id}`,
    discard: 'unmap',
  };
  const device =
    bus === 'scsi' ? `scsi-hd,id=${id},bus=scsihw0.0,serial=${id}` : `virtio-blk-pci,id=${id},serial=${id}`;
  return [
    ...['-object', `throttle-group,id=g-${id}`],
    ...[file, node, throttle].flatMap((each) => ['-blockdev', JSON.stringify(each)]),
    ...['-device', `${device},drive=t-${id}`],
  ];
}

async function connectSoon(path: string, child: { exitCode: number | null }): Promise<JsonSocket> {
  for (const deadline = performance.now() + 10_000; ; ) {
    try {
      return await JsonSocket.connect(path);
    } catch (error) {
      if (child.exitCode !== null || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
