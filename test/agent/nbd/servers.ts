// Real NBD servers for tests: started on a unix socket in a directory of their own, ended with the test.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

function isInstalled(tool: string): boolean {
  return (process.env.PATH ?? '').split(':').some((directory) => {
    try {
      accessSync(join(directory, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** For a test's `skip`: the reason when a tool is missing, else false. */
export function without(...tools: string[]): string | false {
  const missing = tools.filter((tool) => !isInstalled(tool));
  return missing.length > 0 && `not installed here: ${missing.join(', ')}`;
}

/** The part of a test context that outlives a test. */
export type Ending = Pick<TestContext, 'after'>;

export function scratch(t: Ending): string {
  const directory = mkdtempSync(join(tmpdir(), 'hft-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Starts a server whose arguments may hold `SOCKET`, waits for the socket and kills the server after the test. */
export async function startServer(
  t: Ending,
  command: string,
  args: string[],
): Promise<{ socketPath: string; child: ChildProcess }> {
  const socketPath = join(scratch(t), 's');
  const child = spawn(
    command,
    args.map((argument) => argument.replaceAll('SOCKET', socketPath)),
    { stdio: ['ignore', 'ignore', 'pipe'] },
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
  for (let waited = 0; !existsSync(socketPath); waited += 10) {
    if (child.exitCode !== null || waited > 10_000) throw new Error(`${command} did not start: ${words}`);
    await sleep(10);
  }
  // The file appears at bind(), a moment before listen().
  await sleep(20);
  return { socketPath, child };
}

export function qemuNbd(t: Ending, format: string, path: string, ...more: string[]) {
  return startServer(t, 'qemu-nbd', ['-r', '-t', '-e', '16', '-f', format, '-k', 'SOCKET', '-x', 'X', ...more, path]);
}

export function nbdkit(t: Ending, ...args: string[]) {
  return startServer(t, 'nbdkit', ['-f', '-U', 'SOCKET', ...args]);
}

export function tool(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Bytes that differ from place to place; the same for the same seed. */
export function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed >>> 0 || 1;
  for (let at = 0; at + 4 <= length; at += 4) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes.writeInt32LE(state, at);
  }
  return bytes;
}
