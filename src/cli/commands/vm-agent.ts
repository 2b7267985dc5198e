// holdfast vm agent, vm guest exec: what the agent in a guest does for its host.
import type { Command } from 'commander';
import { agentCommand, execInGuest } from '../../guests/vm/agent-command.ts';
import { onVm, type VmOptions, vmCommand } from '../vm-command.ts';
import { wholeNumber } from '../whole-number.ts';

const MAX_SECONDS = 86_400;

export function addVmAgentCommands(vm: Command): void {
  vmCommand(
    vm,
    'agent',
    'a command of the agent in the guest: ping, get-osinfo, network-get-interfaces, fsfreeze-status, fstrim, ...',
  )
    .argument('<COMMAND>')
    .action(async (vmid: string, name: string, _, command: Command) => {
      await onVm(vmid, command.optsWithGlobals<VmOptions>(), async ({ node, id, signal, around }) => {
        const answer = await agentCommand(node, id, name, undefined, { signal });
        around.tell(answer ?? {}, (value) => JSON.stringify(value, undefined, 2));
      });
    });
  const guest = vm.command('guest').description('programs in a guest, through its agent');
  vmCommand(guest, 'exec', 'run a program in the guest; its exit status becomes ours')
    .argument('<PROGRAM...>', 'after --: the program and its arguments')
    .option('--timeout <SECONDS>', 'how long to wait for its end', '30')
    .action(async (vmid: string, words: string[], _, command: Command) => {
      const options = command.optsWithGlobals<VmOptions & { timeout: string }>();
      const timeoutMs = wholeNumber('--timeout', options.timeout, 0, MAX_SECONDS) * 1000;
      await onVm(vmid, options, async ({ node, id, signal, around }) => {
        const result = await execInGuest(node, id, words, { timeoutMs, signal });
        around.tell(result, ({ stdout, exited, pid }) =>
          exited ? stdout.trimEnd() : `it still runs in the guest as process ${pid}`,
        );
        if (options.outputFormat === 'text') process.stderr.write(result.stderr);
        if (result.exitCode !== undefined) process.exitCode = result.exitCode;
      });
    });
}
