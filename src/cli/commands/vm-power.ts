// holdfast vm start | stop | shutdown | reboot | reset | suspend | resume | unlock | startall | stopall.
import type { Command } from 'commander';
import { resetVm, resumeVm, suspendVm } from '../../guests/vm/pause.ts';
import { rebootVm, shutdownVm } from '../../guests/vm/shutdown.ts';
import { startVm } from '../../guests/vm/start.ts';
import { type Outcome, startAll, stopAll } from '../../guests/vm/startup-order.ts';
import { stopVm } from '../../guests/vm/stop.ts';
import { unlockVm } from '../../guests/vm/unlock.ts';
import { HoldfastError } from '../../util/errors.ts';
import { atNode, nodeCommand, type OnVm, onVm, startWatch, type VmOptions, vmCommand } from '../vm-command.ts';
import { wholeNumber } from '../whole-number.ts';

interface PowerOptions extends VmOptions {
  readonly skiplock?: boolean;
  readonly timeout?: string;
  readonly forceStop?: boolean;
  readonly force?: boolean;
  readonly watch: boolean;
}

const MAX_SECONDS = 1_000_000;

export function addVmPowerCommands(vm: Command): void {
  const power = (name: string, description: string, act: (on: OnVm, options: PowerOptions) => Promise<void>): Command =>
    vmCommand(vm, name, description)
      .option('--skiplock', "do it in spite of a 'lock'")
      .action(async (vmid: string, _, command: Command) => {
        const options = command.optsWithGlobals<PowerOptions>();
        await onVm(vmid, options, async (on) => await act(on, options));
      });
  power('start', 'start a virtual machine', async ({ node, id, report, signal }, options) => {
    await startVm(node, id, { signal, skipLock: options.skiplock === true }, report);
    if (options.watch) await startWatch(node);
  }).option('--no-watch', 'start no watch, which puts guests away that power themselves off');
  power('stop', 'pull the plug', async ({ node, id, report, signal }, { skiplock = false }) => {
    await stopVm(node, id, { signal, skipLock: skiplock }, report);
  });
  power('shutdown', 'ask the guest to end: through its agent, or by the power button', async (on, options) => {
    await shutdownVm(on.node, on.id, askOptions(on, options), on.report);
  })
    .option('--timeout <SECONDS>', 'how long it may take (default: 180)')
    .option('--force-stop', 'pull the plug when it takes longer');
  power('reboot', 'end the guest and start it with its present configuration', async (on, options) => {
    await rebootVm(on.node, on.id, askOptions(on, options), on.report);
  }).option('--timeout <SECONDS>', 'how long its end may take (default: 180)');
  power('reset', 'press the reset button', async ({ node, id, signal }, { skiplock = false }) => {
    await resetVm(node, id, { signal, skipLock: skiplock });
  });
  power(
    'suspend',
    "stop the guest's processors; its memory stays",
    async ({ node, id, signal }, { skiplock = false }) => {
      await suspendVm(node, id, { signal, skipLock: skiplock });
    },
  );
  power('resume', 'let its processors run again', async ({ node, id, signal }, { skiplock = false }) => {
    await resumeVm(node, id, { signal, skipLock: skiplock });
  });
  vmCommand(vm, 'unlock', "take away the 'lock' of an operation that was cut off").action(
    async (vmid: string, _, command: Command) => {
      await onVm(
        vmid,
        command.optsWithGlobals<VmOptions>(),
        async ({ node, id, signal }) => await unlockVm(node, id, signal),
      );
    },
  );
  addAll(vm);
}

function addAll(vm: Command): void {
  nodeCommand(vm, 'startall', "start all guests with 'onboot', in the order of their 'startup'")
    .option('--force', "those without 'onboot' too")
    .option('--no-watch', 'start no watch')
    .action(async (_, command: Command) => {
      const options = command.optsWithGlobals<PowerOptions>();
      await atNode(options, async ({ node, report, signal }) => {
        const outcome = await startAll(node, { signal, force: options.force === true }, report);
        if (options.watch && outcome.size > 0) await startWatch(node);
        requireAll(outcome);
      });
    });
  nodeCommand(vm, 'stopall', "shut all guests down, in the order of their 'startup' backwards")
    .option('--timeout <SECONDS>', "for guests whose 'startup' names none (default: 180)")
    .option('--no-force-stop', 'leave those running that do not end in time')
    .action(async (_, command: Command) => {
      const options = command.optsWithGlobals<PowerOptions>();
      await atNode(options, async ({ node, report, signal }) => {
        const timeoutMs = timeoutOf(options);
        const wish = { signal, forceStop: options.forceStop !== false, ...(timeoutMs !== undefined && { timeoutMs }) };
        requireAll(await stopAll(node, wish, report));
      });
    });
}

function askOptions({ signal }: OnVm, options: PowerOptions) {
  const timeoutMs = timeoutOf(options);
  const flags = { skipLock: options.skiplock === true, forceStop: options.forceStop === true };
  return { signal, ...flags, ...(timeoutMs !== undefined && { timeoutMs }) };
}

function timeoutOf({ timeout }: PowerOptions): number | undefined {
  return timeout === undefined ? undefined : wholeNumber('--timeout', timeout, 0, MAX_SECONDS) * 1000;
}

/** Each was told already. */
function requireAll(outcome: Outcome): void {
  const failed = [...outcome].filter(([, error]) => error !== undefined).map(([id]) => id);
  if (failed.length > 0)
    throw new HoldfastError('guest-failed', `failed: ${failed.join(', ')}`, { data: { vmids: failed } });
}
