// The configuration of an agent that runs. Its file is read anew when somebody says so; orders that have begun keep what they began with.
import { isDeepStrictEqual } from 'node:util';
import { HoldfastError } from '../../util/errors.ts';
import { type AgentConfig, readAgentConfig } from './agent-config.ts';

/** With another one of these the agent has to dial again. */
const CONNECTION = ['host', 'port', 'fingerprint', 'node', 'user', 'token', 'secret'] as const;

export class RunningConfig {
  /** Always the one that counts: changed in place. */
  readonly config: AgentConfig;
  readonly #stateDirectory: string;
  #changed = new AbortController();

  constructor(config: AgentConfig, stateDirectory: string) {
    this.config = config;
    this.#stateDirectory = stateDirectory;
  }

  /** Aborts when the next reload brings another server or token; after that it is another signal. */
  get changed(): AbortSignal {
    return this.#changed.signal;
  }

  /** Returns the names of the members that are different now. A file that is wrong changes nothing. @throws `bad-argument`, `not-found`. */
  async reload(): Promise<string[]> {
    const read = await readAgentConfig(this.#stateDirectory);
    if (read === undefined)
      throw new HoldfastError('not-found', `agent.json is gone from ${this.#stateDirectory}: enrol this host anew`);
    const [now, next] = [this.config as Record<string, unknown>, read as Record<string, unknown>];
    const names = [...new Set([...Object.keys(now), ...Object.keys(next)])];
    const different = names.filter((name) => !isDeepStrictEqual(now[name], next[name]));
    for (const name of different) {
      if (name in next) now[name] = next[name];
      else delete now[name];
    }
    if (CONNECTION.some((name) => different.includes(name))) {
      const before = this.#changed;
      this.#changed = new AbortController();
      before.abort(new HoldfastError('aborted', 'the agent has another configuration'));
    }
    return different;
  }
}
