// A guest that is held still for an instant: its file systems frozen, its processors paused. Before either is done a mark in its run directory says so, and whoever
// finds one with nobody at work knows that somebody was killed in between, and undoes it.
import { rm, writeFile } from 'node:fs/promises';
import type { GuestId } from '../../schema/guest-names.ts';
import { isThere } from '../../util/is-there.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import type { RunDirectory } from '../node-directory.ts';
import { whileFrozen } from '../qmp/freeze.ts';
import { GuestAgent } from '../qmp/guest-agent.ts';
import { type QmpCommands, queryStatus } from '../qmp/qmp-types.ts';
import { withMonitor } from './machine-state.ts';

/** QEMU's states in which a guest stands still because it was told to. */
const PAUSED = ['paused', 'prelaunch'];

/** `whileFrozen` of the agent in the guest, marked. @throws what `work` throws, `aborted`. */
export async function whileMarkedFrozen<Result>(
  node: GuestNode,
  id: GuestId,
  work: () => Promise<Result>,
  options: Report & { readonly signal?: AbortSignal | undefined },
): Promise<Result> {
  const { frozenMarker, guestAgent } = node.directory.run(id);
  await writeFile(frozenMarker, '');
  try {
    return (await whileFrozen({ socketPath: guestAgent, label: `VM ${id}` }, work, options)).result;
  } finally {
    await rm(frozenMarker, { force: true });
  }
}

/** Pauses the processors of a guest that runs. One that stands still already is left to whoever paused it. */
export async function pause(monitor: QmpCommands, run: RunDirectory): Promise<void> {
  if ((await queryStatus(monitor)).status !== 'running') return;
  await markPaused(run);
  await monitor.execute('stop');
}

/** For a guest whose processors did not run yet. */
export async function markPaused({ pausedMarker }: RunDirectory): Promise<void> {
  await writeFile(pausedMarker, '');
}

/** An administrator's word for the processors counts from here on. */
export async function unmarkPaused({ pausedMarker }: RunDirectory): Promise<void> {
  await rm(pausedMarker, { force: true });
}

/** Lets processors run that are marked, and no others. Returns whether it did. */
export async function runOn(monitor: QmpCommands, run: RunDirectory): Promise<boolean> {
  if (!(await isThere(run.pausedMarker))) return false;
  const isPaused = PAUSED.includes((await queryStatus(monitor)).status);
  if (isPaused) await monitor.execute('cont');
  await unmarkPaused(run);
  return isPaused;
}

export async function isHeldStill({ frozenMarker, pausedMarker }: RunDirectory): Promise<boolean> {
  return (await isThere(frozenMarker)) || (await isThere(pausedMarker));
}

/**
 * Call with the guest's lock and its backup's, so that nobody is in between, and with QEMU running. An agent that does not answer is a warning, and its mark
 * stays for the next.
 * @throws `guest-stopped`, `timed-out` when QEMU does not answer.
 */
export async function undoForgotten(node: GuestNode, id: GuestId, report: Report): Promise<void> {
  const run = node.directory.run(id);
  // First, for an agent whose processors stand still is silent.
  if ((await isThere(run.pausedMarker)) && (await withMonitor(node, id, async (monitor) => await runOn(monitor, run))))
    report.warn('the guest was left paused by an operation that was killed; it runs on');
  if (await isThere(run.frozenMarker)) await thaw(node, id, report);
}

async function thaw(node: GuestNode, id: GuestId, report: Report): Promise<void> {
  const { frozenMarker, guestAgent } = node.directory.run(id);
  const label = `VM ${id}`;
  try {
    const agent = await GuestAgent.connect(guestAgent, { label });
    try {
      if ((await agent.freezeStatus()) === 'frozen') {
        const count = await agent.thaw();
        report.warn(`${count} file systems were left frozen by an operation that was killed; they are thawed`);
      }
    } finally {
      agent.close();
    }
    await rm(frozenMarker, { force: true });
  } catch (error) {
    report.warn(
      `file systems of ${label} may have been left frozen, and cannot be thawed: ${(error as Error).message}`,
    );
  }
}
