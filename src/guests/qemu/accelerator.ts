// KVM where it works, TCG otherwise. `/dev/kvm` that can be opened does not say that a guest runs in it (nested virtualisation, a processor's
// registers that the host refuses), nor that a processor runs it: where KVM has to emulate the mode that kernels run in, a Linux takes
// hours to boot. So a boot sector is run in it once for each boot of the host and each QEMU, and the answer is kept.
import { access, constants, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '../../util/errors.ts';
import { run } from '../../util/run.ts';
import type { QemuProgram } from './qemu-program.ts';
import { rememberedAnswer } from './remembered-answer.ts';
import { EXIT_PORT, FAST_STATUS, speedSector } from './speed-sector.ts';

export type Accelerator = 'kvm' | 'tcg';

interface ProbeOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** A guest that does nothing gets there in 0.1 s; one that hangs never does. */
const PROBE_TIMEOUT_MS = 5_000;

/** `runPath` is the node's run directory, which a boot of the host empties. */
export async function chooseAccelerator(
  qemu: QemuProgram,
  runPath: string,
  signal?: AbortSignal,
): Promise<Accelerator> {
  return (await canOpenKvm()) ? await probedAccelerator(qemu, runPath, { signal }) : 'tcg';
}

/** Of a `/dev/kvm` that can be opened. That the probe took too long is not remembered: a host that has just booted may be busy. */
export async function probedAccelerator(
  qemu: QemuProgram,
  runPath: string,
  options: ProbeOptions = {},
): Promise<Accelerator> {
  try {
    const answer = await rememberedAnswer(runPath, 'fast-kvm', qemu, async () =>
      (await bootsInKvm(qemu, options)) ? 'kvm' : 'tcg',
    );
    return answer === 'kvm' ? 'kvm' : 'tcg';
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'timed-out') return 'tcg';
    throw error;
  }
}

async function canOpenKvm(): Promise<boolean> {
  return await access('/dev/kvm', constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
}

async function bootsInKvm(
  { program, args, environment }: QemuProgram,
  { timeoutMs = PROBE_TIMEOUT_MS, signal }: ProbeOptions,
): Promise<boolean> {
  const directory = await mkdtemp(join(tmpdir(), 'hf-kvm-'));
  const disk = join(directory, 'boot.raw');
  const node = { driver: 'raw', 'node-name': 'boot', file: { driver: 'file', filename: disk } };
  const exit = { driver: 'isa-debug-exit', iobase: EXIT_PORT, iosize: 4 };
  try {
    await writeFile(disk, speedSector());
    await run(
      program,
      [
        ...args,
        ...['-machine', 'pc', '-accel', 'kvm', '-cpu', 'host', '-m', '16', '-nodefaults', '-no-user-config'],
        ...['-display', 'none', '-no-reboot', '-blockdev', JSON.stringify(node)],
        ...['-device', JSON.stringify({ driver: 'ide-hd', drive: 'boot' }), '-device', JSON.stringify(exit)],
      ],
      { timeoutMs, signal, failure: 'guest-failed', environment },
    );
    return false;
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'guest-failed') throw error;
    return error.data.status === FAST_STATUS;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
