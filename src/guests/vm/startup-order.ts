// startall and stopall: the node's guests one after the other, in the order that their `startup` says, with its delays.
import { setTimeout as sleep } from 'node:timers/promises';
import type { GuestId } from '../../schema/guest-names.ts';
import { parseStartup, type Startup } from '../config/startup.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { lookAtMachine } from './machine-state.ts';
import { shutdownVm } from './shutdown.ts';
import { startVm } from './start.ts';

export interface StartAllOptions {
  readonly signal?: AbortSignal | undefined;
  /** Those without `onboot` too. */
  readonly force?: boolean;
}

export interface StopAllOptions {
  readonly signal?: AbortSignal | undefined;
  /** For guests whose `startup` says no `down`; default 3 minutes. */
  readonly timeoutMs?: number;
  /** Pulls the plug of those that take longer; default yes. */
  readonly forceStop?: boolean;
}

interface Placed extends Startup {
  readonly id: GuestId;
}

const LAST = Number.MAX_SAFE_INTEGER;

/** What became of each guest that was touched; undefined is well. */
export type Outcome = ReadonlyMap<GuestId, Error | undefined>;

/** One that fails does not keep the others from starting. @throws `aborted`. */
export async function startAll(
  node: GuestNode,
  { signal, force = false }: StartAllOptions,
  report: Report,
): Promise<Outcome> {
  const outcome = new Map<GuestId, Error | undefined>();
  for (const { id, upSeconds } of await inOrder(node, report)) {
    if (!(await mayStart(node, id, force))) continue;
    await attempt(id, outcome, report, async () => await startVm(node, id, { signal }, report));
    signal?.throwIfAborted();
    if (upSeconds !== undefined && upSeconds > 0) await sleep(upSeconds * 1000, undefined, signal && { signal });
  }
  return outcome;
}

/** The order of the start backwards. @throws `aborted`. */
export async function stopAll(node: GuestNode, options: StopAllOptions, report: Report): Promise<Outcome> {
  const { signal, forceStop = true } = options;
  const outcome = new Map<GuestId, Error | undefined>();
  for (const { id, downSeconds } of (await inOrder(node, report)).reverse()) {
    if ((await lookAtMachine(node, id, signal)).pid === undefined) continue;
    const timeoutMs = downSeconds === undefined ? options.timeoutMs : downSeconds * 1000;
    const wish = { signal, forceStop, ...(timeoutMs !== undefined && { timeoutMs }) };
    await attempt(id, outcome, report, async () => await shutdownVm(node, id, wish, report));
    signal?.throwIfAborted();
  }
  return outcome;
}

async function attempt(
  id: GuestId,
  outcome: Map<GuestId, Error | undefined>,
  report: Report,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
    outcome.set(id, undefined);
  } catch (error) {
    report.warn(`VM ${id}: ${(error as Error).message}`);
    outcome.set(id, error as Error);
  }
}

async function mayStart(node: GuestNode, id: GuestId, force: boolean): Promise<boolean> {
  const { values } = (await node.configs.read(id)).config;
  if (values.get('template') === '1' || (!force && values.get('onboot') !== '1')) return false;
  return (await lookAtMachine(node, id)).pid === undefined;
}

/** By `order`, those without one after all others, then by number. */
async function inOrder(node: GuestNode, report: Report): Promise<Placed[]> {
  const placed: Placed[] = [];
  for (const id of await node.configs.list()) {
    try {
      const { values } = (await node.configs.read(id)).config;
      const startup = values.get('startup');
      const none = { order: undefined, upSeconds: undefined, downSeconds: undefined };
      placed.push({ ...(startup === undefined ? none : parseStartup(startup)), id });
    } catch (error) {
      report.warn(`VM ${id} is left out: ${(error as Error).message}`);
    }
  }
  return placed.sort((a, b) => (a.order ?? LAST) - (b.order ?? LAST) || a.id - b.id);
}
