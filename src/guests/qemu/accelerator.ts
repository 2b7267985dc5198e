// KVM where it works, TCG otherwise. `/dev/kvm` that can be opened does not say that a guest runs in it (nested virtualisation, a processor's
// registers that the host refuses), so a boot sector is run in it once for each boot of the host and each QEMU, and the answer is kept.
import { access, constants, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { readIfPresent, writeFileAtomic } from '../../util/atomic-file.ts';
import { HoldfastError } from '../../util/errors.ts';
import { parseIfSound } from '../../util/json-file.ts';
import { run } from '../../util/run.ts';
import type { QemuProgram } from './qemu-program.ts';

export type Accelerator = 'kvm' | 'tcg';

/** A guest that does nothing gets there in 0.1 s; one that hangs never does. */
const PROBE_TIMEOUT_MS = 5_000;
/** QEMU's isa-debug-exit ends with twice the byte written, and one. */
const EXIT_BYTE = 0x10;
const EXIT_STATUS = EXIT_BYTE * 2 + 1;
const EXIT_PORT = 0xf4;

const Kept = Type.Object({ program: Type.String(), mtimeMs: Type.Number(), accelerator: Type.Enum(['kvm', 'tcg']) });
type Kept = Static<typeof Kept>;

/** `runPath` is the node's run directory, which a boot of the host empties. */
export async function chooseAccelerator(
  qemu: QemuProgram,
  runPath: string,
  signal?: AbortSignal,
): Promise<Accelerator> {
  if (!(await canOpenKvm())) return 'tcg';
  const path = join(runPath, 'accelerator.json');
  const mtimeMs = (await stat(qemu.program).catch(() => undefined))?.mtimeMs ?? 0;
  const kept = await readKept(path);
  if (kept?.program === qemu.program && kept.mtimeMs === mtimeMs) return kept.accelerator;
  const accelerator = (await bootsInKvm(qemu, signal)) ? 'kvm' : 'tcg';
  await mkdir(runPath, { recursive: true, mode: 0o700 });
  await writeFileAtomic(path, JSON.stringify({ program: qemu.program, mtimeMs, accelerator } satisfies Kept));
  return accelerator;
}

async function canOpenKvm(): Promise<boolean> {
  return await access('/dev/kvm', constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
}

/** What cannot be read is asked again. */
async function readKept(path: string): Promise<Kept | undefined> {
  const text = await readIfPresent(path);
  return text === undefined ? undefined : parseIfSound(text, Kept);
}

async function bootsInKvm({ program, args, environment }: QemuProgram, signal?: AbortSignal): Promise<boolean> {
  const directory = await mkdtemp(join(tmpdir(), 'hf-kvm-'));
  const disk = join(directory, 'boot.raw');
  const node = { driver: 'raw', 'node-name': 'boot', file: { driver: 'file', filename: disk } };
  const exit = { driver: 'isa-debug-exit', iobase: EXIT_PORT, iosize: 4 };
  try {
    await writeFile(disk, bootSector());
    await run(
      program,
      [
        ...args,
        ...['-machine', 'pc', '-accel', 'kvm', '-cpu', 'host', '-m', '16', '-nodefaults', '-no-user-config'],
        ...['-display', 'none', '-no-reboot', '-blockdev', JSON.stringify(node)],
        ...['-device', JSON.stringify({ driver: 'ide-hd', drive: 'boot' }), '-device', JSON.stringify(exit)],
      ],
      { timeoutMs: PROBE_TIMEOUT_MS, signal, failure: 'guest-failed', environment },
    );
    return false;
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof HoldfastError && error.code === 'tool-missing') throw error;
    return error instanceof HoldfastError && error.code === 'guest-failed' && error.data.status === EXIT_STATUS;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** mov dx,0xf4; mov al,0x10; out dx,al; hlt; jmp $-1; and the mark of a boot sector. */
function bootSector(): Uint8Array {
  const sector = new Uint8Array(1 << 20);
  sector.set([0xba, EXIT_PORT, 0x00, 0xb0, EXIT_BYTE, 0xee, 0xf4, 0xeb, 0xfd]);
  sector.set([0x55, 0xaa], 510);
  return sector;
}
