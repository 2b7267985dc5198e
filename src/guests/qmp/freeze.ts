// Runs work while the guest's file systems are frozen. Three rules: the work runs once, frozen or not; whoever froze thaws, also when the
// freeze failed or nobody knows what became of it; and no trouble with thawing hides what the work did.
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../util/errors.ts';
import { type AgentAddress, GuestAgent } from './guest-agent.ts';

export interface FreezeOptions {
  /** Databases may need their time; default 60 s. */
  freezeTimeoutMs?: number;
  /** The file systems are thawed after so long even when the work hangs; default 15 s. Windows thaws itself after 10. */
  watchdogMs?: number;
  /** For each of five attempts to thaw; default 10 s. */
  thawTimeoutMs?: number;
  /** Between the attempts; default 1 s. */
  thawPauseMs?: number;
  /** Ends the waiting for the freeze. It never ends the thaw; the work looks at it itself. */
  signal?: AbortSignal | undefined;
  /** For what a person has to know: the backup is not consistent, or the guest may still be frozen. */
  warn: (message: string) => void;
  log: (message: string) => void;
}

export interface Frozen<Result> {
  readonly result: Result;
  /** How many file systems were frozen. */
  readonly mountpoints: number;
  /** From the answer to the freeze to that of the thaw. */
  readonly frozenMs: number;
  /** The watchdog thawed while the work still ran: its end is not of one moment with its begin. */
  readonly thawedEarly: boolean;
  /** Why the work ran without a freeze of ours. */
  readonly skipped: 'agent-silent' | 'already-frozen' | 'freeze-failed' | undefined;
}

const THAW_ATTEMPTS = 5;

/**
 * The result of `work`, with what became of the freeze. An agent that is silent or refuses does not stop the work, it is a warning; a guest
 * that somebody else froze is left frozen.
 * @throws what the work throws, and `aborted` when the signal came before it.
 */
export async function whileFrozen<Result>(
  address: AgentAddress,
  work: () => Promise<Result>,
  options: FreezeOptions,
): Promise<Frozen<Result>> {
  const { signal, warn, log, watchdogMs = 15_000 } = options;
  const freeze = await tryToFreeze(address, options);
  const { agent, skipped, mountpoints } = freeze;
  if (skipped !== undefined) {
    agent?.close();
    throwIfAborted(signal, address);
    return { result: await work(), mountpoints: 0, frozenMs: 0, thawedEarly: false, skipped };
  }
  const since = performance.now();
  let thawed: Promise<number> | undefined;
  const thaw = () => {
    thawed ??= thawSurely(agent, address, options).then(() => performance.now() - since);
    return thawed;
  };
  let thawedEarly = false;
  const watchdog = setTimeout(() => {
    thawedEarly = true;
    warn(`the work took more than ${watchdogMs} ms; the file systems are thawed before it has ended`);
    // It is awaited when the work has ended.
    thaw().catch(() => {});
  }, watchdogMs);
  let result: Result;
  let frozenMs = 0;
  try {
    throwIfAborted(signal, address);
    result = await work();
  } finally {
    clearTimeout(watchdog);
    frozenMs = await thaw();
    agent.close();
  }
  log(`${mountpoints} file systems were frozen for ${Math.round(frozenMs)} ms`);
  return { result, mountpoints, frozenMs, thawedEarly, skipped };
}

type Freeze =
  | { agent: GuestAgent; mountpoints: number; skipped: undefined }
  | { agent: GuestAgent | undefined; mountpoints: 0; skipped: 'agent-silent' | 'already-frozen' | 'freeze-failed' };

async function tryToFreeze(address: AgentAddress, options: FreezeOptions): Promise<Freeze> {
  const { freezeTimeoutMs = 60_000, signal, warn } = options;
  let agent: GuestAgent | undefined;
  let asked = false;
  try {
    agent = await GuestAgent.connect(address.socketPath, { ...address, signal });
    await agent.ping({ timeoutMs: address.timeoutMs ?? 3000, signal });
    if ((await agent.freezeStatus({ signal })) === 'frozen') {
      warn(`the file systems of ${agent.label} are frozen already; whoever froze them has to thaw them`);
      return { agent, mountpoints: 0, skipped: 'already-frozen' };
    }
    asked = true;
    return { agent, mountpoints: await agent.freeze({ timeoutMs: freezeTimeoutMs, signal }), skipped: undefined };
  } catch (error) {
    // What a freeze without an answer did is not known.
    if (asked) await thawSurely(agent!, address, options);
    const known = error instanceof HoldfastError ? error.code : undefined;
    if (known === undefined || known === 'aborted') {
      agent?.close();
      throw error;
    }
    warn(`the file systems are not frozen: ${(error as Error).message}`);
    return { agent, mountpoints: 0, skipped: known === 'guest-agent-silent' ? 'agent-silent' : 'freeze-failed' };
  }
}

/** Thaws, several times if need be. It never throws: what it cannot do it says loudly. */
async function thawSurely(agent: GuestAgent, address: AgentAddress, options: FreezeOptions): Promise<void> {
  const { thawTimeoutMs = 10_000, thawPauseMs = 1000, warn } = options;
  const { label } = agent;
  let current = agent;
  let last: unknown;
  for (let attempt = 1; attempt <= THAW_ATTEMPTS; attempt++) {
    try {
      // A connection that was lost does not come back.
      if (attempt > 1 && current.isLost) current = await GuestAgent.connect(address.socketPath, address);
      await current.thaw({ timeoutMs: thawTimeoutMs });
      last = undefined;
      break;
    } catch (error) {
      last = error;
      if (error instanceof HoldfastError && error.code === 'guest-stopped') break;
      if (await isThawed(current, Math.min(1000, thawTimeoutMs))) {
        last = undefined;
        break;
      }
      if (attempt < THAW_ATTEMPTS) await sleep(thawPauseMs);
    }
  }
  if (current !== agent) current.close();
  if (last !== undefined)
    warn(`THE FILE SYSTEMS OF ${label} MAY STILL BE FROZEN: ${(last as Error).message}. ${ADVICE}`);
}

const ADVICE =
  'Thaw them with guest-fsfreeze-thaw over the agent, or in the guest with "fsfreeze --unfreeze"; else restart it';

async function isThawed(agent: GuestAgent, timeoutMs: number): Promise<boolean> {
  try {
    return (await agent.freezeStatus({ timeoutMs })) === 'thawed';
  } catch {
    // Not known is not thawed, and the error that counts is that of the thaw.
    return false;
  }
}

function throwIfAborted(signal: AbortSignal | undefined, { label = 'the guest' }: AgentAddress): void {
  if (signal?.aborted)
    throw new HoldfastError('aborted', `the freeze of ${label} was aborted`, { cause: signal.reason });
}
