// `cpu`, `sockets`, `cores`, `vcpus`, `numa` of a configuration as QEMU's -cpu and -smp.
import { HoldfastError } from '../../util/errors.ts';
import { CPU_FORMAT } from '../config/hardware-formats.ts';
import { parseProperties } from '../config/property-string.ts';
import type { Accelerator } from './accelerator.ts';

/** Names that Proxmox defines over QEMU's models: the levels of the x86-64 ABI, as flags over the oldest. */
const ABI_LEVELS: Readonly<Record<string, string>> = {
  'x86-64-v2': '+cx16,+lahf-lm,+popcnt,+sse4.1,+sse4.2,+ssse3',
  'x86-64-v2-AES': '+aes,+cx16,+lahf-lm,+popcnt,+sse4.1,+sse4.2,+ssse3',
  'x86-64-v3':
    '+aes,+cx16,+lahf-lm,+popcnt,+sse4.1,+sse4.2,+ssse3,+avx,+avx2,+bmi1,+bmi2,+f16c,+fma,+abm,+movbe,+xsave',
  'x86-64-v4':
    '+aes,+cx16,+lahf-lm,+popcnt,+sse4.1,+sse4.2,+ssse3,+avx,+avx2,+bmi1,+bmi2,+f16c,+fma,+abm,+movbe,+xsave,+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl',
};

export interface ProcessorSettings {
  /** `cpu` of the configuration. */
  readonly cpu: string | undefined;
  readonly sockets: number;
  readonly cores: number;
  readonly vcpus: number | undefined;
}

/** Arguments; under TCG the model is `max` whatever is asked for, since it has no other's flags to give. @throws `bad-argument`. */
export function processorArguments(settings: ProcessorSettings, accelerator: Accelerator): string[] {
  const { sockets, cores } = settings;
  const most = sockets * cores;
  const now = settings.vcpus ?? most;
  if (now > most)
    throw new HoldfastError(
      'bad-argument',
      `vcpus: ${now} is more than sockets x cores = ${most}; raise cores or lower vcpus`,
    );
  return ['-cpu', model(settings.cpu, accelerator), '-smp', `${now},sockets=${sockets},cores=${cores},maxcpus=${most}`];
}

function model(cpu: string | undefined, accelerator: Accelerator): string {
  if (accelerator === 'tcg') return 'max';
  const { cputype = 'kvm64', flags } = cpu === undefined ? {} : parseProperties(cpu, CPU_FORMAT, 'cpu');
  const level = ABI_LEVELS[cputype];
  return [...(level === undefined ? [cputype] : ['qemu64', level]), ...(flags?.split(';') ?? [])].join(',');
}
