// /nodes/{node}/qemu/{vmid}/status: what a virtual machine does, and starting, stopping and the like, each as a task.
import { Type } from 'typebox';
import { defineGuestMethod, onGuest, requireGuest } from '../../method.ts';
import type { PowerAction, PowerOptions } from '../../services.ts';
import { startGuestTask } from '../../start-guest-task.ts';
import { given, OfGuest, SkipLock, StorageName, seconds, Timeout, Upid } from '../parameters.ts';
import { requireRootFor } from './skip-lock.ts';
import { currentOf, VmCurrent } from './vm-row.ts';

const PATH = '/nodes/{node}/qemu/{vmid}/status';
const Parameters = Type.Object({
  ...OfGuest,
  skiplock: SkipLock,
  timeout: Timeout,
});
const ForShutdown = Type.Object({
  ...Parameters.properties,
  forceStop: Type.Boolean({ default: false, description: 'Stopped hard when the time is over.' }),
  keepActive: Type.Boolean({ default: false, description: 'Taken and ignored: volumes stay as they are anyway.' }),
});
const ForStop = Type.Object({
  ...Parameters.properties,
  keepActive: Type.Boolean({ default: false, description: 'Taken and ignored: volumes stay as they are anyway.' }),
  'overrule-shutdown': Type.Boolean({
    default: false,
    description: 'Taken and ignored: a stop waits for no shutdown.',
  }),
});
const ForSuspend = Type.Object({
  ...Parameters.properties,
  todisk: Type.Boolean({ default: false, description: 'Memory goes to a volume, and the process ends.' }),
  statestorage: Type.Optional(StorageName),
});
const ForResume = Type.Object({
  ...Parameters.properties,
  nocheck: Type.Boolean({ default: false, description: 'Taken and ignored.' }),
});

export const VM_STATUS_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: `${PATH}/current`,
    description: 'What a virtual machine does now.',
    access: onGuest('VM.Audit'),
    parameters: Type.Object(OfGuest),
    returns: VmCurrent,
    handler: async (call, { node, vmid }) => {
      await requireGuest(call, node, vmid);
      return currentOf(await call.services.guests.status(vmid));
    },
  }),
  power('start', 'qmstart', 'Starts a virtual machine.', Parameters),
  power('stop', 'qmstop', 'Stops a virtual machine hard.', ForStop),
  power('shutdown', 'qmshutdown', 'Asks a virtual machine to shut itself down.', ForShutdown),
  power('reboot', 'qmreboot', 'Shuts a virtual machine down and starts it again.', Parameters),
  power('reset', 'qmreset', 'Resets a virtual machine, as its button does.', Parameters),
  power('suspend', 'qmpause', 'Halts a virtual machine, or puts its memory to disk.', ForSuspend),
  power('resume', 'qmresume', 'Lets a halted virtual machine go on.', ForResume),
];

function power(action: PowerAction, type: string, description: string, parameters: typeof Parameters) {
  return defineGuestMethod({
    method: 'POST',
    path: `${PATH}/${action}`,
    description,
    access: onGuest('VM.PowerMgmt'),
    parameters,
    returns: Upid,
    handler: async (call, all) => {
      const { node, vmid, skiplock, timeout, ...more } = all;
      const { forceStop, todisk: toDisk, statestorage: stateStorage } = more as Readonly<Record<string, never>>;
      requireRootFor(call, skiplock);
      await requireGuest(call, node, vmid);
      const options: PowerOptions = {
        skipLock: skiplock,
        ...seconds(timeout),
        ...given({ forceStop, toDisk, stateStorage }),
      };
      const { guests } = call.services;
      return startGuestTask(call, toDisk ? 'qmsuspend' : type, vmid, (work) => guests[action](vmid, options, work));
    },
  });
}
