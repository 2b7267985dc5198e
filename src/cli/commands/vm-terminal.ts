// holdfast vm terminal: the serial console of a guest on this terminal, until Ctrl-O.
import { once } from 'node:events';
import { connect } from 'node:net';
import { type Command, Option } from 'commander';
import { lookAtMachine, notRunning } from '../../guests/vm/machine-state.ts';
import { HoldfastError } from '../../util/errors.ts';
import { type OnVm, onVm, type VmOptions, vmCommand } from '../vm-command.ts';

/** Ctrl-O, as in Proxmox. */
const LEAVE = 0x0f;

export function addVmTerminalCommand(vm: Command): void {
  vmCommand(vm, 'terminal', 'the serial console of a guest (serial0: socket); Ctrl-O leaves')
    .addOption(new Option('--iface <PORT>').choices(['serial0', 'serial1', 'serial2', 'serial3']).default('serial0'))
    .action(async (vmid: string, _, command: Command) => {
      const options = command.optsWithGlobals<VmOptions & { iface: string }>();
      await onVm(vmid, options, async (on) => await showTerminal(on, options.iface));
    });
}

async function showTerminal({ node, id, signal }: OnVm, port: string): Promise<void> {
  const { config } = await node.configs.read(id);
  if (config.values.get(port) !== 'socket')
    throw new HoldfastError(
      'bad-argument',
      `VM ${id} has no ${port} on a socket: holdfast vm set ${id} --${port} socket, and start it anew`,
    );
  if ((await lookAtMachine(node, id)).pid === undefined) throw notRunning(id);
  const socket = connect(node.directory.run(id).serial(Number(port.slice('serial'.length))));
  const ended = once(socket, 'close');
  socket.on('error', () => {});
  socket.on('data', (bytes) => process.stdout.write(bytes));
  const leave = (): void => void socket.destroy();
  const onInput = (bytes: Buffer): void => {
    const at = bytes.indexOf(LEAVE);
    socket.write(at < 0 ? bytes : bytes.subarray(0, at));
    if (at >= 0) leave();
  };
  signal.addEventListener('abort', leave, { once: true });
  process.stderr.write(`starting serial terminal on interface ${port} (press Ctrl+O to exit)\r\n`);
  if (process.stdin.isTTY) process.stdin.setRawMode(true);
  process.stdin.on('data', onInput).once('end', leave);
  try {
    await ended;
  } finally {
    signal.removeEventListener('abort', leave);
    process.stdin.off('data', onInput).off('end', leave).pause();
    if (process.stdin.isTTY) process.stdin.setRawMode(false);
    process.stdin.unref();
  }
}
