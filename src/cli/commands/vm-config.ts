// holdfast vm create | set: a virtual machine made of settings, and its settings changed.
import type { Command } from 'commander';
import { configureVm } from '../../guests/vm/configure.ts';
import { createVm } from '../../guests/vm/create.ts';
import { onVm, startWatch, type VmOptions, vmCommand } from '../vm-command.ts';
import { settingsOf } from '../vm-settings.ts';

const KEYS =
  '\nEvery key of the configuration is an option as well: --scsi0 local:32 --memory 2048 --net0 virtio,bridge=vmbr0';

export function addVmConfigCommands(vm: Command): void {
  vmCommand(vm, 'create', 'make a virtual machine; STORAGE:SIZE makes a disk of so many GiB')
    .argument('[--KEY VALUE...]', 'settings')
    .option('--start', 'start it when it is made')
    .addHelpText('after', KEYS)
    .allowUnknownOption()
    .action(async (vmid: string, words: string[], _, command: Command) => {
      const options = command.optsWithGlobals<VmOptions & { start?: boolean }>();
      await onVm(vmid, options, async ({ node, id, report, signal }) => {
        await createVm(node, id, await settingsOf(words), { signal, start: options.start === true }, report);
        if (options.start) await startWatch(node);
      });
    });
  vmCommand(vm, 'set', 'change settings; a running machine takes over at once what it can')
    .argument('[--KEY VALUE...]', 'settings')
    .option('--delete <KEYS>', 'keys to remove, with commas between; a removed disk becomes an unused one')
    .option('--force', 'free the volumes of removed disks')
    .option('--digest <SHA1>', 'fail when the configuration is not this one any more')
    .option('--skiplock', "change it in spite of a 'lock'")
    .addHelpText('after', KEYS)
    .allowUnknownOption()
    .action(async (vmid: string, words: string[], _, command: Command) => {
      type Options = VmOptions & { delete?: string; force?: boolean; digest?: string; skiplock?: boolean };
      const options = command.optsWithGlobals<Options>();
      await onVm(vmid, options, async ({ node, id, report, signal, around }) => {
        const remove = (options.delete ?? '').split(/[,;\s]+/).filter((key) => key !== '');
        const change = {
          set: await settingsOf(words),
          remove,
          digest: options.digest,
          force: options.force === true,
          signal,
        };
        const pending = await configureVm(node, id, { ...change, skipLock: options.skiplock === true }, report);
        around.tell({ pending }, () => '');
      });
    });
}
