// KVM where it works, TCG otherwise. `/dev/kvm` that can be opened does not say that a guest runs in it (nested virtualisation, a processor's
// registers that the host refuses), nor that a processor runs it: where KVM has to emulate the mode that kernels run in, each instruction takes a
// thousand cycles, and a Linux hours to boot. So a boot sector is run in it once for each boot of the host and each QEMU, and the answer is kept.
import { access, constants, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '../../util/errors.ts';
import { run } from '../../util/run.ts';
import type { QemuProgram } from './qemu-program.ts';
import { rememberedAnswer } from './remembered-answer.ts';

export type Accelerator = 'kvm' | 'tcg';

interface ProbeOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** A guest that does nothing gets there in 0.1 s; one that hangs never does. */
const PROBE_TIMEOUT_MS = 5_000;
/** What the boot sector writes to isa-debug-exit, and the status that QEMU ends with then: twice that, and one. */
const FAST_BYTE = 0x10;
const SLOW_BYTE = 0x11;
const FAST_STATUS = FAST_BYTE * 2 + 1;
const EXIT_PORT = 0xf4;

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
    const answer = await rememberedAnswer(runPath, 'accelerator', qemu, async () =>
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
    await writeFile(disk, bootSector());
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

const BOOT_ADDRESS = 0x7c00;

/**
 * Enters the mode that kernels run in, and times a loop there: 65,536 rounds, by the processor's own clock, the best of four for a host that is busy. A
 * processor takes one to three cycles for a round, TCG about ten, an emulator of instructions two thousand; `FAST_BYTE` says that it was 64 at most.
 */
function bootSector(): Uint8Array {
  const real = [
    ...[0xfa], // cli
    ...[0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0], // xor ax, ax; mov ds, ax; mov es, ax
    // Page tables at 0x1000: the first 2 MiB as they are.
    ...[0x66, 0xbf, 0x00, 0x10, 0x00, 0x00, 0x0f, 0x22, 0xdf], // mov edi, 0x1000; mov cr3, edi
    ...[0xb9, 0x00, 0x0c, 0x66, 0x31, 0xc0, 0x66, 0xf3, 0xab], // mov cx, 0xc00; xor eax, eax; rep stosd
    ...[0xc7, 0x06, 0x00, 0x10, 0x03, 0x20], // mov word [0x1000], 0x2003
    ...[0xc7, 0x06, 0x00, 0x20, 0x03, 0x30], // mov word [0x2000], 0x3003
    ...[0xc7, 0x06, 0x00, 0x30, 0x83, 0x00], // mov word [0x3000], 0x0083
    // Physical address extension, long mode, then paging and protection at once.
    ...[0x0f, 0x20, 0xe0, 0x0c, 0x20, 0x0f, 0x22, 0xe0], // mov eax, cr4; or al, 0x20; mov cr4, eax
    ...[0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32, 0x80, 0xcc, 0x01, 0x0f, 0x30], // mov ecx, 0xc0000080; rdmsr; or ah, 1; wrmsr
    ...[0x0f, 0x01, 0x16, 0x98, 0x7c], // lgdt [0x7c98]
    ...[0x0f, 0x20, 0xc0, 0x66, 0x0d, 0x01, 0x00, 0x00, 0x80, 0x0f, 0x22, 0xc0], // mov eax, cr0; or eax, 0x80000001; mov cr0, eax
    ...[0xea, 0x56, 0x7c, 0x08, 0x00], // jmp 8:0x7c56
  ];
  const long = [
    ...[0xbe, 0x04, 0x00, 0x00, 0x00], // mov esi, 4
    ...[0x0f, 0x31, 0x89, 0xc3], // try: rdtsc; mov ebx, eax
    ...[0xb9, 0x00, 0x00, 0x01, 0x00, 0xff, 0xc9, 0x75, 0xfc], // mov ecx, 65536; round: dec ecx; jnz round
    ...[0x0f, 0x31, 0x29, 0xd8, 0x3d, 0x00, 0x00, 0x40, 0x00], // rdtsc; sub eax, ebx; cmp eax, 64 * 65536
    ...[0xb0, FAST_BYTE, 0x72, 0x06], // mov al, FAST_BYTE; jb out
    ...[0xff, 0xce, 0x75, 0xe2, 0xb0, SLOW_BYTE], // dec esi; jnz try; mov al, SLOW_BYTE
    ...[0x66, 0xba, EXIT_PORT, 0x00, 0xee], // out: mov dx, EXIT_PORT; out dx, al
    ...[0xf4, 0xeb, 0xfd], // halt: hlt; jmp halt
  ];
  const sector = new DataView(new ArrayBuffer(1 << 20));
  [...real, ...long].forEach((byte, at) => void sector.setUint8(at, byte));
  // The table of segments: none, and one of 64-bit code. Its length and address stand behind it.
  sector.setBigUint64(0x90, 0x0020_9a00_0000_0000n, true);
  sector.setUint16(0x98, 15, true);
  sector.setUint32(0x9a, BOOT_ADDRESS + 0x88, true);
  sector.setUint16(510, 0xaa55, true);
  return new Uint8Array(sector.buffer);
}
