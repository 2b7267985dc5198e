// holdfast vm list | status | config | pending | showcmd: what is so, and what is configured.
import type { Command } from 'commander';
import { showCommand } from '../../guests/vm/show-command.ts';
import { showConfig } from '../../guests/vm/show-config.ts';
import { pendingChanges } from '../../guests/vm/started-config.ts';
import { listVms, vmStatus } from '../../guests/vm/status.ts';
import { formatDuration, pairs, table } from '../output.ts';
import { atNode, nodeCommand, onVm, type VmOptions, vmCommand } from '../vm-command.ts';

const MIB = 1024 ** 2;

export function addVmListCommands(vm: Command): void {
  nodeCommand(vm, 'list', 'all virtual machines of this host').action(async (_, command: Command) => {
    await atNode(command.optsWithGlobals<VmOptions>(), async ({ node, around, signal }) => {
      const rows = await listVms(node, around.warn, { signal });
      around.tell(rows, (all) =>
        table(
          ['VMID', 'NAME', 'STATUS', 'MEM (MiB)', 'BOOTDISK (GiB)', 'PID'],
          all.map((each) => [
            String(each.vmid),
            each.name,
            each.lock === undefined ? each.status : `${each.status} (${each.lock})`,
            String(each.memoryBytes / MIB),
            (each.diskBytes / 1024 ** 3).toFixed(2),
            String(each.pid ?? 0),
          ]),
          new Set(['VMID', 'MEM (MiB)', 'BOOTDISK (GiB)', 'PID']),
        ),
      );
    });
  });
  vmCommand(vm, 'status', 'whether a virtual machine runs')
    .option('--verbose', 'all that is known')
    .action(async (vmid: string, _, command: Command) => {
      const options = command.optsWithGlobals<VmOptions & { verbose?: boolean }>();
      await onVm(vmid, options, async ({ node, id, around, signal }) => {
        const status = await vmStatus(node, id, { signal });
        around.tell(status, (all) =>
          options.verbose
            ? pairs(
                Object.entries({
                  ...all,
                  ...all.usage,
                  usage: undefined,
                  uptimeSeconds: undefined,
                  uptime: formatDuration(all.uptimeSeconds * 1000),
                })
                  .filter(([, value]) => value !== undefined)
                  .map(([key, value]) => [key, String(value)] as const),
              )
            : `status: ${all.status}`,
        );
      });
    });
  vmCommand(vm, 'config', "a virtual machine's configuration")
    .option('--current', 'as it runs, without what waits for the next start')
    .option('--snapshot <NAME>', 'as it was then')
    .action(async (vmid: string, _, command: Command) => {
      const options = command.optsWithGlobals<VmOptions & { current?: boolean; snapshot?: string }>();
      await onVm(vmid, options, async ({ node, id, around }) => {
        const { values, description, digest } = await showConfig(node, id, options);
        const shown = { ...Object.fromEntries(values), ...(description !== undefined && { description }) };
        const lines = Object.entries(shown).sort(([a], [b]) => (a < b ? -1 : 1));
        around.tell({ ...shown, digest }, () =>
          lines.map(([key, value]) => `${key}: ${value.replaceAll('\n', '\\n')}`).join('\n'),
        );
      });
    });
  vmCommand(vm, 'pending', 'what was changed and waits for the next start').action(
    async (vmid: string, _, command: Command) => {
      await onVm(vmid, command.optsWithGlobals<VmOptions>(), async ({ node, id, around }) => {
        around.tell(await pendingChanges(node, id), (changes) =>
          changes
            .map(({ key, running, configured }) => `${key}: ${running ?? '(none)'} -> ${configured ?? '(removed)'}`)
            .join('\n'),
        );
      });
    },
  );
  vmCommand(vm, 'showcmd', 'the command that a start would run').action(async (vmid: string, _, command: Command) => {
    await onVm(vmid, command.optsWithGlobals<VmOptions>(), async ({ node, id, around, signal }) => {
      around.tell(await showCommand(node, id, signal), (words) => words.map(quoted).join(' '));
    });
  });
}

/** For a shell. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
