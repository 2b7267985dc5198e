// /nodes/{node}/qemu/{vmid}/termproxy and /vncwebsocket: the serial console of a virtual machine.
import { Type } from 'typebox';
import { callerOf } from '../../../method.ts';
import { ConsoleLine } from '../../console/console-line.ts';
import { FIRST_PORT, LAST_PORT } from '../../console/consoles.ts';
import { defineGuestMethod, onGuest, requireGuest } from '../../method.ts';
import { startGuestTask } from '../../start-guest-task.ts';
import { OfGuest, Upid } from '../parameters.ts';

const PATH = '/nodes/{node}/qemu/{vmid}';
const SERIAL_PORTS = ['serial0', 'serial1', 'serial2', 'serial3'];
const Port = Type.Integer({ minimum: FIRST_PORT, maximum: LAST_PORT, description: 'The answer of termproxy.' });

export const VM_CONSOLE_METHODS = [
  defineGuestMethod({
    method: 'POST',
    path: `${PATH}/termproxy`,
    description:
      'Gives out a console on a serial port of a virtual machine that runs: for who connects to vncwebsocket within 10 seconds. Its task ends with it.',
    access: onGuest('VM.Console'),
    parameters: Type.Object({
      ...OfGuest,
      serial: Type.Optional(
        Type.Enum(SERIAL_PORTS, { description: 'The one that `vga` names, else the first, when it is not given.' }),
      ),
    }),
    returns: Type.Object({ user: Type.String(), ticket: Type.String(), port: Port, upid: Upid }),
    handler: async (call, { node, vmid, serial }) => {
      await requireGuest(call, node, vmid);
      const { guests, consoles } = call.services;
      const authId = callerOf(call);
      const wanted = serial === undefined ? undefined : SERIAL_PORTS.indexOf(serial);
      const offered = consoles.offer({ authId, vmid, serial: await guests.serialPort(vmid, wanted) });
      try {
        const upid = startGuestTask(call, 'vncproxy', vmid, (work) => offered.run(work));
        return { user: authId, ticket: offered.ticket, port: offered.port, upid };
      } catch (error) {
        offered.end('its task could not be started');
        throw error;
      }
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: `${PATH}/vncwebsocket`,
    description: 'A console as a WebSocket; without an upgrade it answers whether the ticket is good.',
    access: onGuest('VM.Console'),
    parameters: Type.Object({
      ...OfGuest,
      port: Port,
      vncticket: Type.String({ maxLength: 512, description: 'The answer of termproxy.' }),
    }),
    returns: Type.Object({ port: Type.String() }),
    handler: async (call, { node, vmid, port, vncticket: ticket }) => {
      await requireGuest(call, node, vmid);
      call.services.consoles.find({ authId: callerOf(call), vmid, port, ticket });
      return { port: String(port) };
    },
    upgrade: ({ services: { consoles, guests, permissions } }, { vmid, port, vncticket: ticket }, caller, socket) => {
      const { authId, isStillGood } = caller;
      const console = consoles.take({ authId, vmid, port, ticket });
      return new ConsoleLine(console, socket, {
        open: (signal) => guests.openSerialPort(vmid, console.serial, signal),
        rightsEveryMs: consoles.rightsEveryMs,
        mayGoOn: async () => permissions.has(authId, `/vms/${vmid}`, 'VM.Console') && (await isStillGood()),
      });
    },
  }),
];
