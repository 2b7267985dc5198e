// /nodes/{node}/qemu/{vmid}/agent: the agent in the guest. Its answers go out as it gave them, under `result`.
import { Type } from 'typebox';
import type { Privilege } from '../../../../auth/privileges.ts';
import { type ExecStatus, execRequest, outputOf } from '../../../../guests/qmp/guest-exec.ts';
import { defineGuestMethod, onGuest, requireGuest } from '../../method.ts';
import { Count, Flag, flag, given, OfGuest } from '../parameters.ts';

const PATH = '/nodes/{node}/qemu/{vmid}/agent';
const LOOK: readonly Privilege[] = ['VM.GuestAgent.Audit', 'VM.GuestAgent.Unrestricted'];
const FREEZE: readonly Privilege[] = ['VM.GuestAgent.FileSystemMgmt', 'VM.GuestAgent.Unrestricted'];
const MAX_INPUT = 65_536;
const Result = Type.Object({ result: Type.Unknown() });

/** [method, name in the path, what it does, who may]. The agent has the same names with `guest-` before them. */
const SIMPLE: readonly (readonly ['GET' | 'POST', string, string, readonly Privilege[]])[] = [
  ['POST', 'ping', 'Whether the agent in the guest answers.', LOOK],
  ['GET', 'info', 'What the agent in the guest is and can.', LOOK],
  ['GET', 'network-get-interfaces', 'The network interfaces of a guest with their addresses.', LOOK],
  ['GET', 'get-osinfo', 'The operating system of a guest.', LOOK],
  ['GET', 'get-fsinfo', 'The file systems of a guest.', LOOK],
  ['GET', 'get-host-name', 'The host name that a guest has.', LOOK],
  ['GET', 'get-time', 'The clock of a guest.', LOOK],
  ['GET', 'get-timezone', 'The time zone of a guest.', LOOK],
  ['GET', 'get-users', 'Who is signed in to a guest.', LOOK],
  ['GET', 'get-vcpus', 'The processors of a guest.', LOOK],
  ['POST', 'fsfreeze-status', 'Whether the file systems of a guest are frozen.', FREEZE],
  ['POST', 'fsfreeze-freeze', 'Freezes the file systems of a guest.', FREEZE],
  ['POST', 'fsfreeze-thaw', 'Thaws the file systems of a guest.', FREEZE],
  ['POST', 'fstrim', 'Gives back what the file systems of a guest do not use.', FREEZE],
];

export const VM_AGENT_METHODS = [
  ...SIMPLE.map(([method, name, description, privileges]) =>
    defineGuestMethod({
      method,
      path: `${PATH}/${name}`,
      description,
      access: onGuest(...privileges),
      parameters: Type.Object(OfGuest),
      returns: Result,
      handler: async (call, { node, vmid }) => {
        await requireGuest(call, node, vmid);
        return { result: await call.services.guests.agent(vmid, `guest-${name}`, {}, call.signal) };
      },
    }),
  ),
  defineGuestMethod({
    method: 'POST',
    path: `${PATH}/exec`,
    description: 'Starts a program in a guest.',
    access: onGuest('VM.GuestAgent.Unrestricted'),
    parameters: Type.Object({
      ...OfGuest,
      command: Type.Array(Type.String({ maxLength: 32_768 }), {
        minItems: 1,
        maxItems: 256,
        description: 'The program and its arguments.',
      }),
      'input-data': Type.Optional(Type.String({ maxLength: MAX_INPUT, description: 'What it reads.' })),
    }),
    returns: Type.Object({ pid: Count }),
    handler: async (call, { node, vmid, command, 'input-data': input }) => {
      await requireGuest(call, node, vmid);
      const wish = execRequest(command, input === undefined ? undefined : Buffer.from(input));
      const answer = await call.services.guests.agent(vmid, 'guest-exec', wish, call.signal);
      return { pid: Number((answer as { pid?: unknown }).pid) };
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: `${PATH}/exec-status`,
    description: 'What became of a program that was started in a guest.',
    access: onGuest('VM.GuestAgent.Unrestricted'),
    parameters: Type.Object({
      ...OfGuest,
      pid: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'The answer of exec.' }),
    }),
    returns: Type.Object({
      exited: Flag,
      exitcode: Type.Optional(Type.Integer()),
      signal: Type.Optional(Type.Integer()),
      'out-data': Type.Optional(Type.String()),
      'err-data': Type.Optional(Type.String()),
      'out-truncated': Type.Optional(Flag),
      'err-truncated': Type.Optional(Flag),
    }),
    handler: async (call, { node, vmid, pid }) => {
      await requireGuest(call, node, vmid);
      const status = await call.services.guests.agent(vmid, 'guest-exec-status', { pid }, call.signal);
      return execStatusOf(status as ExecStatus);
    },
  }),
];

function execStatusOf(status: ExecStatus) {
  const cut = (value: boolean | undefined) => (value === undefined ? undefined : flag(value));
  return {
    exited: flag(status.exited === true),
    ...given({
      exitcode: status.exitcode,
      signal: status.signal,
      'out-data': outputOf(status['out-data']),
      'err-data': outputOf(status['err-data']),
      'out-truncated': cut(status['out-truncated']),
      'err-truncated': cut(status['err-truncated']),
    }),
  };
}
