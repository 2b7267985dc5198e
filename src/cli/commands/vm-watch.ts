// holdfast vm watch: the watch of this host's guests in the foreground. A start from the command line leaves one behind by itself.
import type { Command } from 'commander';
import { watchGuests } from '../../guests/watch/watch-guests.ts';
import { HoldfastError } from '../../util/errors.ts';
import { atNode, nodeCommand, type VmOptions } from '../vm-command.ts';
import { wholeNumber } from '../whole-number.ts';

const MAX_SECONDS = 1_000_000;

export function addVmWatchCommand(vm: Command): void {
  nodeCommand(
    vm,
    'watch',
    'put away guests that power themselves off, and what a killed QEMU left; one a host, until Ctrl-C',
  )
    .option('--idle <SECONDS>', 'end when no guest ran for so long')
    .action(async (_, command: Command) => {
      const options = command.optsWithGlobals<VmOptions & { idle?: string }>();
      await atNode(options, async ({ node, signal, report }) => {
        const idle =
          options.idle === undefined ? {} : { idleMs: wholeNumber('--idle', options.idle, 0, MAX_SECONDS) * 1000 };
        if (!(await watchGuests(node, signal, report, idle)))
          throw new HoldfastError('guest-locked', `a watch of ${node.directory.path} runs already`);
      });
    });
}
