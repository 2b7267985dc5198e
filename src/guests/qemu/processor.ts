// `cpu`, `sockets`, `cores`, `vcpus`, `numa` of a configuration as QEMU's -cpu and -smp.
import { HoldfastError } from '../../util/errors.ts';
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
  const parts = (cpu ?? 'kvm64').split(',').filter((part) => part !== '');
  const type = parts.find((part) => !part.includes('='))?.trim() ?? settingOf(parts, 'cputype') ?? 'kvm64';
  if (!/^[A-Za-z0-9_.-]+$/.test(type)) throw new HoldfastError('bad-argument', `cpu: '${type}' is no processor model`);
  const flags = (settingOf(parts, 'flags') ?? '').split(';').filter((flag) => flag !== '');
  const odd = flags.find((flag) => !/^[+-][A-Za-z0-9_.-]+$/.test(flag));
  if (odd !== undefined) throw new HoldfastError('bad-argument', `cpu: flag '${odd}' must begin with + or -`);
  const level = ABI_LEVELS[type];
  return [...(level === undefined ? [type] : ['qemu64', level]), ...flags].join(',');
}

function settingOf(parts: readonly string[], key: string): string | undefined {
  return parts.find((part) => part.startsWith(`${key}=`))?.slice(key.length + 1);
}
