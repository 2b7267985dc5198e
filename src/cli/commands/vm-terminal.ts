// holdfast vm terminal: the serial console of a guest on this terminal, until Ctrl-O.
import { once } from 'node:events';
import { type Command, Option } from 'commander';
import { findSerialPort, openSerialPort } from '../../guests/vm/serial-port.ts';
import { type OnVm, onVm, type VmOptions, vmCommand } from '../vm-command.ts';

/** Ctrl-O, as in Proxmox. */
const LEAVE = 0x0f;

export function addVmTerminalCommand(vm: Command): void {
  vmCommand(vm, 'terminal', 'the serial console of a guest (serial0: socket); Ctrl-O leaves')
    .addOption(
      new Option('--iface <PORT>', 'the one that vga names, else the first, by default').choices([
        'serial0',
        'serial1',
        'serial2',
        'serial3',
      ]),
    )
    .action(async (vmid: string, _, command: Command) => {
      const options = command.optsWithGlobals<VmOptions & { iface?: string }>();
      await onVm(vmid, options, async (on) => await showTerminal(on, options.iface));
    });
}

async function showTerminal({ node, id, signal }: OnVm, iface: string | undefined): Promise<void> {
  const wanted = iface === undefined ? undefined : Number(iface.slice('serial'.length));
  const index = await findSerialPort(node, id, wanted);
  const socket = await openSerialPort(node, id, index, signal);
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
  process.stderr.write(`starting serial terminal on interface serial${index} (press Ctrl+O to exit)\r\n`);
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
