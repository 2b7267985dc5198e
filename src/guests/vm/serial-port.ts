// The serial ports of a running guest: sockets of its QEMU, each with one client at a time.
import type { Socket } from 'node:net';
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { GuestNode } from '../guest-node.ts';
import { findQemu } from '../qemu/qemu-process.ts';
import { openSocket } from '../qmp/open-socket.ts';
import { waitFor } from '../qmp/wait-for.ts';
import { notRunning } from './machine-state.ts';
import { runningValues } from './started-config.ts';

const CONNECT_TIMEOUT_MS = 5_000;
const INDEXES = [0, 1, 2, 3];

/**
 * The index of the port for a console: the wanted one, or the one that `vga` shows the guest on, or the first.
 * @throws `not-found`, `guest-stopped`, `bad-argument` when the guest runs without it.
 */
export async function findSerialPort(node: GuestNode, id: GuestId, wanted: number | undefined): Promise<number> {
  const { config } = await node.configs.read(id);
  if ((await findQemu(node.directory.run(id))) === undefined) throw notRunning(id);
  const values = await runningValues(node, id, config);
  const ports = INDEXES.filter((index) => values.get(`serial${index}`) === 'socket');
  const shownOn = /^(?:type=)?serial([0-3])/.exec(values.get('vga') ?? '')?.[1];
  const index = wanted ?? ports.find((each) => String(each) === shownOn) ?? ports[0];
  if (index !== undefined && ports.includes(index)) return index;
  const words = `unable to find a serial interface: VM ${id} runs without ${index === undefined ? 'one' : `serial${index}`}`;
  throw new HoldfastError('bad-argument', `${words}; set serial${index ?? 0} to socket, and start it anew`, {
    data: { key: 'serial' },
  });
}

/** A connection; while another client has the port it is made, and silent. @throws `guest-stopped`, `timed-out`, `guest-failed`, `aborted`. */
export async function openSerialPort(
  node: GuestNode,
  id: GuestId,
  index: number,
  signal: AbortSignal,
): Promise<Socket> {
  const what = `serial${index} of VM ${id}`;
  const timedOut = (): HoldfastError => new HoldfastError('timed-out', `${what} takes no connection`);
  const deadline = waitFor<never>({ timeoutMs: CONNECT_TIMEOUT_MS, signal, timedOut, what: `connecting to ${what}` });
  try {
    return await openSocket(node.directory.run(id).serial(index), `VM ${id}`, deadline.signal);
  } finally {
    deadline.cancel();
  }
}
