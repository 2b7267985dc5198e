// The agent program as a host runs it: a process of its own, started, stopped, killed and started again with the same identity.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { type Ending, PROGRAM } from '../../cli/holdfast.ts';

const TIMEOUT_MS = 60_000;

export class AgentProcess {
  readonly stateDirectory: string;
  /** What it logged, all starts together. */
  readonly lines: string[] = [];
  #child: ChildProcess | undefined;
  #heard: Interface | undefined;

  /** It is killed after the test. */
  constructor(t: Ending, stateDirectory: string) {
    this.stateDirectory = stateDirectory;
    t.after(() => void this.#child?.kill('SIGKILL'));
  }

  /** Starts it, and returns when it has logged what matches. */
  async start(until = /the agent is connected/): Promise<string> {
    const from = this.lines.length;
    const args = [PROGRAM, 'agent', '--state', this.stateDirectory];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    this.#heard = createInterface({ input: child.stderr });
    this.#heard.on('line', (line) => this.lines.push(line));
    return await this.said(until, from);
  }

  /** The first line from the `from`th on that matches, once it is there. */
  async said(pattern: RegExp, from = 0): Promise<string> {
    const deadline = AbortSignal.timeout(TIMEOUT_MS);
    for (;;) {
      const line = this.lines.slice(from).find((each) => pattern.test(each));
      if (line !== undefined) return line;
      await once(this.#heard as Interface, 'line', { signal: deadline }).catch(() => {
        throw new Error(`the agent did not say ${pattern}: ${this.lines.slice(from).join('\n').slice(-2000)}`);
      });
    }
  }

  /** Sends a signal and returns the exit code; null after SIGKILL. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const child = this.#child as ChildProcess;
    const ended = once(child, 'close');
    child.kill(signal);
    return (await ended)[0] as number | null;
  }
}
