// holdfast vm destroy | clone | resize: what makes, frees and grows volumes.
import { type Command, Option } from 'commander';
import { cloneVm } from '../../guests/vm/clone.ts';
import { destroyVm } from '../../guests/vm/destroy.ts';
import { resizeVm } from '../../guests/vm/resize.ts';
import { parseGuestId } from '../../schema/guest-names.ts';
import { onVm, type VmOptions, vmCommand } from '../vm-command.ts';

export function addVmVolumeCommands(vm: Command): void {
  vmCommand(vm, 'destroy', 'remove a stopped virtual machine with all its volumes and snapshots')
    .option('--purge', 'remove it from jobs as well (there are none on a host alone)')
    .option(
      '--destroy-unreferenced-disks',
      'disks that bear its number and that its configuration does not name go too',
    )
    .option('--skiplock', "do it in spite of a 'lock'")
    .action(async (vmid: string, _, command: Command) => {
      const options = command.optsWithGlobals<VmOptions & { destroyUnreferencedDisks?: boolean; skiplock?: boolean }>();
      await onVm(vmid, options, async ({ node, id, report, signal }) => {
        const { destroyUnreferencedDisks = false, skiplock = false } = options;
        await destroyVm(node, id, { signal, destroyUnreferencedDisks, skipLock: skiplock }, report);
      });
    });
  vmCommand(vm, 'clone', 'copy a stopped virtual machine, or one of its snapshots, to a new one')
    .argument('<NEWID>')
    .option('--name <NAME>', 'of the new one')
    .option('--description <TEXT>', 'of the new one')
    .option('--snapname <NAME>', 'the snapshot that is copied')
    .option('--storage <STORAGE>', "for all its disks (default: each one's own)")
    .addOption(new Option('--format <FORMAT>', 'of all its disks').choices(['raw', 'qcow2']))
    .option('--full', 'all bytes are copied; it is always so')
    .action(async (vmid: string, newid: string, _, command: Command) => {
      type Options = VmOptions & {
        name?: string;
        description?: string;
        snapname?: string;
        storage?: string;
        format?: 'raw' | 'qcow2';
      };
      const options = command.optsWithGlobals<Options>();
      await onVm(vmid, options, async ({ node, id, report, signal }) => {
        const { name, description, snapname: snapshot, storage, format } = options;
        await cloneVm(node, id, parseGuestId(newid), { signal, name, description, snapshot, storage, format }, report);
      });
    });
  vmCommand(vm, 'resize', 'let a disk grow, while the guest runs too')
    .argument('<DISK>', 'scsi0')
    .argument('<SIZE>', '64G, or +8G')
    .option('--digest <SHA1>', 'fail when the configuration is not this one any more')
    .option('--skiplock', "do it in spite of a 'lock'")
    .action(async (vmid: string, disk: string, size: string, _, command: Command) => {
      const options = command.optsWithGlobals<VmOptions & { digest?: string; skiplock?: boolean }>();
      await onVm(vmid, options, async ({ node, id, report, signal, around }) => {
        const request = { disk, size, digest: options.digest, skipLock: options.skiplock === true, signal };
        const sizeBytes = await resizeVm(node, id, request, report);
        around.tell({ disk, sizeBytes }, () => '');
      });
    });
}
