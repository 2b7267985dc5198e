// The server program as an administrator runs it: a process of its own, started, stopped, killed and started again at the same ports.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { freePorts } from './free-ports.ts';

const START_TIMEOUT_MS = 60_000;
const HOST = '127.0.0.1';

export interface ServerPlace {
  /** Path of holdfast.js. */
  readonly program: string;
  readonly stateDirectory: string;
  /** More options of the command. */
  readonly options?: readonly string[];
}

interface Running {
  readonly child: ChildProcess;
  readonly heard: Interface;
  readonly ended: Promise<number | null>;
}

export class ServerProcess {
  readonly host = HOST;
  readonly port: number;
  /** Of the first datastore. */
  readonly bulkPort: number;
  /** What it logged, all starts together. */
  readonly lines: string[] = [];
  readonly #place: ServerPlace;
  #running: Running | undefined;
  #fingerprint = '';

  private constructor(place: ServerPlace, port: number) {
    this.#place = place;
    this.port = port;
    this.bulkPort = port + 1;
  }

  /** Starts a server; it has the state that the directory holds. Whoever starts it kills it. @throws when it does not run. */
  static async start(place: ServerPlace): Promise<ServerProcess> {
    const server = new ServerProcess(place, await freePorts(3));
    await server.start();
    return server;
  }

  /** SHA-256 of the certificate. */
  get fingerprint(): string {
    return this.#fingerprint;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** @throws when it does not run. */
  get pid(): number {
    const pid = this.#running?.child.pid;
    if (pid === undefined) throw new Error('the server does not run');
    return pid;
  }

  /** Starts it again after its end; returns when it answers. */
  async start(): Promise<void> {
    const { program, stateDirectory, options = [] } = this.#place;
    const places = ['--listen', `${HOST}:${this.port}`, '--bulk-port', String(this.bulkPort)];
    const args = [program, 'server', '--state-dir', stateDirectory, ...places, ...options];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const heard = createInterface({ input: child.stderr });
    const ended = once(child, 'close').then(([code]) => code as number | null);
    this.#running = { child, heard, ended };
    heard.on('line', (line) => this.lines.push(line));
    const from = this.lines.length;
    const running = await Promise.race([this.said(/"the server runs"/, from), ended]);
    if (typeof running !== 'string')
      throw new Error(`the server does not start: ${this.lines.slice(from).join('\n').slice(-2000)}`);
    this.#fingerprint = (JSON.parse(running) as { fingerprint: string }).fingerprint;
  }

  /** The first line from the `from`th on that matches, once it is there. */
  async said(pattern: RegExp, from = 0): Promise<string> {
    const deadline = AbortSignal.timeout(START_TIMEOUT_MS);
    for (;;) {
      const line = this.lines.slice(from).find((each) => pattern.test(each));
      if (line !== undefined) return line;
      await once(this.#running?.heard as Interface, 'line', { signal: deadline });
    }
  }

  /** Sends a signal and returns the exit code; null after SIGKILL. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    this.#running?.child.kill(signal);
    const code = await this.#running?.ended;
    this.#running = undefined;
    return code ?? null;
  }

  /** For the end of a test: at once, without waiting. */
  kill(): void {
    this.#running?.child.kill('SIGKILL');
  }
}
