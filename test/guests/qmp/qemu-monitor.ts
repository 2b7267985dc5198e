// A QEMU with a monitor and without a machine: it starts in 50 ms, and its block layer is whole. Ended with the test.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { QemuBuild } from '../../support/guests/qemu-builds.ts';

/** The flag of a socket that listens, as the kernel lists it. */
const ACCEPTS = '00010000';

type Ending = Pick<TestContext, 'after'>;

export function scratch(t: Ending): string {
  const directory = mkdtempSync(join(tmpdir(), 'hfq-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Starts a program whose arguments may hold `SOCKET`, and waits for that socket. */
export async function startListening(
  t: Ending,
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ socketPath: string; child: ChildProcess }> {
  const socketPath = join(scratch(t), 's');
  const child = spawn(
    command,
    args.map((argument) => argument.replaceAll('SOCKET', socketPath)),
    { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...env } },
  );
  let words = '';
  child.stderr!.on('data', (data) => {
    words += data;
  });
  const ended = once(child, 'exit');
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  for (let waited = 0; !isListening(socketPath); waited += 10) {
    if (child.exitCode !== null || waited > 10_000) throw new Error(`${command} did not start: ${words}`);
    await sleep(10);
  }
  return { socketPath, child };
}

/** The file is there before anybody listens. A look leaves the one client that a monitor serves its place. */
function isListening(socketPath: string): boolean {
  const sockets = readFileSync('/proc/net/unix', 'utf8').split('\n');
  return sockets.some((line) => line.endsWith(` ${socketPath}`) && line.split(/\s+/)[3] === ACCEPTS);
}

export function startMonitor(t: Ending, build: QemuBuild): Promise<{ socketPath: string; child: ChildProcess }> {
  const args = ['-machine', 'none', '-nodefaults', '-display', 'none', '-qmp', 'unix:SOCKET,server=on,wait=off'];
  return startListening(t, build.tool('qemu-system-x86_64'), [...build.systemArgs, ...args], build.env);
}

/** A server of the test's own on a unix socket; its connections end with the test. */
export async function listen(t: Ending, onConnection: (socket: Socket) => void): Promise<string> {
  const socketPath = join(scratch(t), 's');
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  server.listen(socketPath);
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return socketPath;
}
