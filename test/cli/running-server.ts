// The server as a process of its own, for tests of the program.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, get } from 'node:https';
import { createInterface } from 'node:readline';
import { type Ending, type Place, PROGRAM } from './holdfast.ts';

export interface Running {
  readonly child: ChildProcess;
  readonly lines: string[];
  readonly port: number;
  readonly fingerprint: string;
  said(pattern: RegExp): Promise<void>;
  ended: Promise<number | null>;
}

/** Starts a server with its state in `server/` of the place, on a free port. */
export async function run(t: Ending, place: Place, ...more: string[]): Promise<Running> {
  const args = [PROGRAM, 'server', '--state-dir', place.path('server'), '--listen', '127.0.0.1:0', ...more];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  const lines: string[] = [];
  const heard = createInterface({ input: child.stderr });
  const said = async (pattern: RegExp): Promise<void> => {
    while (!lines.some((line) => pattern.test(line)))
      await once(heard, 'line', { signal: AbortSignal.timeout(20_000) });
  };
  heard.on('line', (line) => lines.push(line));
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  await said(/the server runs/);
  const { port, fingerprint } = JSON.parse(lines.find((line) => line.includes('the server runs')) ?? '{}');
  return { child, lines, port, fingerprint, said, ended };
}

/** A GET without asking whose certificate it is. `token` is `USER@REALM!NAME:SECRET`. */
export async function ask(
  port: number,
  path: string,
  token?: string,
  more: Readonly<Record<string, string>> = {},
): Promise<{ status: number; text: string; fingerprint: string }> {
  const agent = new Agent({ rejectUnauthorized: false });
  const headers = { ...more, ...(token !== undefined && { authorization: `PBSAPIToken=${token}` }) };
  const [response] = await once(get({ host: '127.0.0.1', port, path, agent, headers }), 'response');
  const fingerprint = response.socket.getPeerCertificate().fingerprint256.toLowerCase();
  let text = '';
  for await (const chunk of response) text += String(chunk);
  agent.destroy();
  return { status: response.statusCode, text, fingerprint };
}
