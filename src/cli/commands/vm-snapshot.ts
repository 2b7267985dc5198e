// holdfast vm snapshot | listsnapshot | delsnapshot | rollback: snapshots on the storages of this host. Backups are `holdfast vm backup`.
import type { Command } from 'commander';
import { deleteSnapshotVm } from '../../guests/vm/delete-snapshot.ts';
import { listSnapshots } from '../../guests/vm/list-snapshots.ts';
import { rollbackVm } from '../../guests/vm/rollback.ts';
import { snapshotVm } from '../../guests/vm/snapshot.ts';
import { table } from '../output.ts';
import { onVm, startWatch, type VmOptions, vmCommand } from '../vm-command.ts';

export function addVmSnapshotCommands(vm: Command): void {
  vmCommand(vm, 'snapshot', 'all disks and the configuration at one instant')
    .argument('<NAME>')
    .option('--description <TEXT>')
    .action(async (vmid: string, name: string, _, command: Command) => {
      const options = command.optsWithGlobals<VmOptions & { description?: string }>();
      await onVm(vmid, options, async ({ node, id, report, signal }) => {
        await snapshotVm(node, id, name, { signal, description: options.description }, report);
      });
    });
  vmCommand(vm, 'listsnapshot', 'its snapshots, oldest first').action(async (vmid: string, _, command: Command) => {
    await onVm(vmid, command.optsWithGlobals<VmOptions>(), async ({ node, id, around }) => {
      const { config } = await node.configs.read(id);
      const rows = listSnapshots(config);
      around.tell({ snapshots: rows, parent: config.values.get('parent') }, ({ snapshots, parent }) =>
        table(
          ['NAME', 'TIME', 'PARENT', 'DESCRIPTION'],
          [
            ...snapshots.map((each) => [
              each.isWhole ? each.name : `${each.name} (not whole)`,
              new Date(each.time * 1000).toISOString(),
              each.parent ?? '',
              (each.description ?? '').split('\n')[0] ?? '',
            ]),
            ['current', '', parent ?? '', 'You are here!'],
          ],
        ),
      );
    });
  });
  vmCommand(vm, 'delsnapshot', 'remove a snapshot')
    .argument('<NAME>')
    .option('--force', "also when a disk's snapshot cannot be removed")
    .action(async (vmid: string, name: string, _, command: Command) => {
      const options = command.optsWithGlobals<VmOptions & { force?: boolean }>();
      await onVm(vmid, options, async ({ node, id, report, signal }) => {
        await deleteSnapshotVm(node, id, name, { signal, force: options.force === true }, report);
      });
    });
  vmCommand(vm, 'rollback', 'back to a snapshot; what was written since is lost, and a running guest is stopped')
    .argument('<NAME>')
    .option('--start', 'start it then')
    .action(async (vmid: string, name: string, _, command: Command) => {
      const options = command.optsWithGlobals<VmOptions & { start?: boolean }>();
      await onVm(vmid, options, async ({ node, id, report, signal }) => {
        await rollbackVm(node, id, name, { signal, start: options.start === true }, report);
        if (options.start) await startWatch(node);
      });
    });
}
