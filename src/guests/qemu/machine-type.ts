// `machine` of a configuration as a machine type that this QEMU has.

import { run } from '../../util/run.ts';
import { MACHINE_FORMAT } from '../config/hardware-formats.ts';
import { parseProperties } from '../config/property-string.ts';
import type { QemuProgram } from './qemu-program.ts';
import { rememberedAnswer } from './remembered-answer.ts';

const QUESTION_TIMEOUT_MS = 20_000;

export interface MachineChoice {
  readonly type: string;
  readonly family: 'i440fx' | 'q35';
  /** What was asked for, when this QEMU does not have it. */
  readonly missing?: string;
}

/** `available` are the names of `-machine help`. One that is newer than this QEMU becomes its newest: the guest sees other hardware versions, no other devices. @throws `bad-argument`. */
export function chooseMachineType(machine: string | undefined, available: readonly string[]): MachineChoice {
  const { type = 'pc' } = machine === undefined ? {} : parseProperties(machine, MACHINE_FORMAT, 'machine');
  // Proxmox's own revisions of a type have no meaning elsewhere.
  const name = type.replace(/\+pve\d+$/, '');
  const family = name.includes('q35') ? 'q35' : 'i440fx';
  if (available.includes(name)) return { type: name, family };
  return { type: family === 'q35' ? 'q35' : 'pc', family, missing: name };
}

/** Names of the machine types that this QEMU has, aliases among them. `runPath` is the node's. @throws `tool-missing`, `guest-failed`, `timed-out`, `aborted`. */
export async function machineTypes(qemu: QemuProgram, runPath: string, signal?: AbortSignal): Promise<string[]> {
  const { program, args, environment } = qemu;
  const help = await rememberedAnswer(runPath, 'machine-types', qemu, async () => {
    const options = { timeoutMs: QUESTION_TIMEOUT_MS, failure: 'guest-failed' as const, environment, signal };
    return (await run(program, [...args, '-machine', 'help'], options)).stdout;
  });
  return help
    .split('\n')
    .slice(1)
    .flatMap((line) => /^\S+/.exec(line)?.[0] ?? []);
}
