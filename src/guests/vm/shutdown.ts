// qm shutdown and qm reboot: the guest's own system is asked to end, through its agent when it answers, else by the power button.
import { setTimeout as sleep } from 'node:timers/promises';
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { parseAgentOption } from '../config/agent-option.ts';
import type { VmConfig } from '../config/vm-config.ts';
import { withGuestLock } from '../guest-lock.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { GuestAgent } from '../qmp/guest-agent.ts';
import { requireUnlocked } from './config-lock.ts';
import { runGuestHook } from './guest-hook.ts';
import { lookAtMachine, notRunning, withMonitor } from './machine-state.ts';
import { hasEnded, putAway } from './put-away.ts';
import { startLocked } from './start.ts';

/** As Proxmox. */
const DEFAULT_TIMEOUT_MS = 180_000;
const AGENT_TIMEOUT_MS = 3_000;
const POLL_MS = 200;

export interface ShutdownOptions {
  readonly signal?: AbortSignal | undefined;
  readonly skipLock?: boolean;
  /** How long the guest may take; default 3 minutes. */
  readonly timeoutMs?: number;
  /** Pulls the plug when it takes longer. */
  readonly forceStop?: boolean;
}

/** @throws `guest-stopped`, `guest-locked`, `timed-out` when the guest does not end and `forceStop` is not set. */
export async function shutdownVm(
  node: GuestNode,
  id: GuestId,
  options: ShutdownOptions,
  report: Report,
): Promise<void> {
  await withGuestLock(node, id, options, async () => {
    await shutdownLocked(node, id, options, report);
  });
}

/** Ends the guest's system and starts it anew with its present configuration. */
export async function rebootVm(node: GuestNode, id: GuestId, options: ShutdownOptions, report: Report): Promise<void> {
  await withGuestLock(node, id, options, async () => {
    await shutdownLocked(node, id, options, report);
    await startLocked(node, id, options, report);
  });
}

/** As `shutdownVm`, for who holds the guest's lock already. */
export async function shutdownLocked(
  node: GuestNode,
  id: GuestId,
  { signal, skipLock = false, timeoutMs = DEFAULT_TIMEOUT_MS, forceStop = false }: ShutdownOptions,
  report: Report,
): Promise<void> {
  const { config } = await node.configs.read(id);
  if (!skipLock) requireUnlocked(id, config);
  const { pid, status } = await lookAtMachine(node, id, signal);
  if (pid === undefined) throw notRunning(id);
  await runGuestHook(node, id, config, 'pre-stop', report, signal);
  // A paused guest cannot react.
  if (status === 'paused') await withMonitor(node, id, async (monitor) => await monitor.execute('cont'));
  await askToEnd(node, id, config, report);
  const deadline = performance.now() + timeoutMs;
  while (!(await hasEnded(node, id, signal))) {
    if (performance.now() > deadline) {
      if (!forceStop)
        throw new HoldfastError(
          'timed-out',
          `VM ${id} did not shut down within ${timeoutMs / 1000} s; its system ignores the request. Install its agent, or stop it hard: holdfast vm stop ${id}`,
        );
      report.warn(`the guest did not shut down within ${timeoutMs / 1000} s; it is stopped`);
      break;
    }
    await sleep(POLL_MS, undefined, signal && { signal });
  }
  if ((await lookAtMachine(node, id)).pid !== undefined) await putAway(node, id, report);
}

async function askToEnd(node: GuestNode, id: GuestId, config: VmConfig, report: Report): Promise<void> {
  if (parseAgentOption(config.values.get('agent')).enabled) {
    try {
      const agent = await GuestAgent.connect(node.directory.run(id).guestAgent, { timeoutMs: AGENT_TIMEOUT_MS });
      try {
        await agent.shutdown('powerdown');
        report.log('asked the agent in the guest to shut down');
        return;
      } finally {
        agent.close();
      }
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      report.warn(`${error.message}; the power button is pressed instead`);
    }
  }
  await withMonitor(node, id, async (monitor) => await monitor.execute('system_powerdown'));
  report.log('pressed the power button');
}
