// qm agent and qm guest exec: commands of the agent in the guest, and its own answers.
import { setTimeout as sleep } from 'node:timers/promises';
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { parseAgentOption } from '../config/agent-option.ts';
import type { GuestNode } from '../guest-node.ts';
import { GuestAgent } from '../qmp/guest-agent.ts';
import { type ExecStatus, execRequest, outputOf } from '../qmp/guest-exec.ts';
import { lookAtMachine, notRunning } from './machine-state.ts';

/** These do real work in the guest. */
const SLOW_TIMEOUT_MS = 60_000;
const SLOW = new Set(['guest-fsfreeze-freeze', 'guest-fstrim']);
const USUAL_TIMEOUT_MS = 10_000;
const EXEC_POLL_MS = 200;
const MAX_INPUT_BYTES = 1 << 20;

export interface AgentCallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Takes no lock: an agent is asked about a guest whatever else goes on. `command` with or without `guest-`.
 * @throws `guest-stopped`, `guest-agent-silent`, `bad-argument` when the configuration has no agent, `guest-failed` with the agent's own words.
 */
export async function agentCommand(
  node: GuestNode,
  id: GuestId,
  command: string,
  args: Readonly<Record<string, unknown>> | undefined,
  options: AgentCallOptions = {},
): Promise<unknown> {
  return await withAgent(node, id, options.signal, async (agent) => await ask(agent, command, args, options));
}

export interface ExecResult {
  readonly pid: number;
  /** False when it ran longer than anybody waited. */
  readonly exited: boolean;
  readonly exitCode: number | undefined;
  readonly signal: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly isTruncated: boolean;
}

export interface ExecOptions {
  readonly input?: Uint8Array | undefined;
  /** How long to wait for its end. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Runs a program in the guest and waits for its end. The agent keeps at most 16 MiB of what it prints. @throws as `agentCommand`. */
export async function execInGuest(
  node: GuestNode,
  id: GuestId,
  command: readonly string[],
  { input, timeoutMs, signal }: ExecOptions,
): Promise<ExecResult> {
  if (input !== undefined && input.length > MAX_INPUT_BYTES)
    throw new HoldfastError('too-large', `input of ${input.length} bytes; the agent takes ${MAX_INPUT_BYTES}`);
  return await withAgent(node, id, signal, async (agent) => {
    const wish = execRequest(command, input);
    const { pid } = await agent.execute<{ pid: number }>('guest-exec', wish, { timeoutMs: USUAL_TIMEOUT_MS, signal });
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const status = await agent.execute<ExecStatus>(
        'guest-exec-status',
        { pid },
        { timeoutMs: USUAL_TIMEOUT_MS, signal },
      );
      if (status.exited === true || performance.now() >= deadline) return resultOf(pid, status);
      await sleep(EXEC_POLL_MS, undefined, signal && { signal });
    }
  });
}

function resultOf(pid: number, status: ExecStatus): ExecResult {
  return {
    pid,
    exited: status.exited === true,
    exitCode: status.exitcode,
    signal: status.signal,
    stdout: outputOf(status['out-data']) ?? '',
    stderr: outputOf(status['err-data']) ?? '',
    isTruncated: status['out-truncated'] === true || status['err-truncated'] === true,
  };
}

async function ask(
  agent: GuestAgent,
  command: string,
  args: Readonly<Record<string, unknown>> | undefined,
  { timeoutMs, signal }: AgentCallOptions,
): Promise<unknown> {
  const name = command.startsWith('guest-') ? command : `guest-${command}`;
  if (!/^guest-[a-z][a-z0-9-]{1,60}$/.test(name))
    throw new HoldfastError('bad-argument', `'${command}' is no command of a guest agent`);
  // A shutdown is not answered, and a thaw is sent also to an agent that does not answer.
  if (name === 'guest-shutdown') return await agent.shutdown('powerdown', { signal });
  if (name === 'guest-fsfreeze-thaw') return await agent.thaw({ signal });
  const usual = SLOW.has(name) ? SLOW_TIMEOUT_MS : USUAL_TIMEOUT_MS;
  return await agent.execute(name, args, { timeoutMs: timeoutMs ?? usual, signal });
}

async function withAgent<Result>(
  node: GuestNode,
  id: GuestId,
  signal: AbortSignal | undefined,
  use: (agent: GuestAgent) => Promise<Result>,
): Promise<Result> {
  const { config } = await node.configs.read(id);
  const { pid, status } = await lookAtMachine(node, id, signal);
  if (pid === undefined || status === 'shutdown') throw notRunning(id);
  if (!parseAgentOption(config.values.get('agent')).enabled)
    throw new HoldfastError(
      'bad-argument',
      `VM ${id} is configured without a guest agent: holdfast vm set ${id} --agent 1, and start it anew`,
    );
  const agent = await GuestAgent.connect(node.directory.run(id).guestAgent, { label: `VM ${id}`, signal });
  try {
    return await use(agent);
  } finally {
    agent.close();
  }
}
