// Processor, memory, disk and load of this machine, from the kernel's files.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { cpus, loadavg, machine, release, type, uptime, version } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Static } from 'typebox';
import { systemCode } from '../../util/errors.ts';
import { spaceOn } from '../stores/store-space.ts';
import type { NodeStatus } from './node-status-schema.ts';

/** Between two looks at the processors' counters, which have ticks of 10 ms. */
const SAMPLE_MS = 100;

/** `fingerprint` is that of the server's certificate. */
export async function nodeStatus(fingerprint: string, signal: AbortSignal): Promise<Static<typeof NodeStatus>> {
  const before = await processorTicks();
  await delay(SAMPLE_MS, undefined, { signal });
  const after = await processorTicks();
  const all = cpus();
  const [one = 0, five = 0, fifteen = 0] = loadavg();
  return {
    ...sharesBetween(before, after),
    cpuinfo: { cpus: all.length, model: all[0]?.model ?? 'unknown', sockets: await socketCount() },
    loadavg: [one, five, fifteen],
    ...(await memoryOf()),
    root: spaceOn('/'),
    uptime: Math.floor(uptime()),
    kversion: `${type()} ${release()} ${version()}`,
    'current-kernel': { sysname: type(), release: release(), version: version(), machine: machine() },
    'boot-info': {
      mode: existsSync('/sys/firmware/efi') ? 'efi' : 'legacy-bios',
      secureboot: await isSecureBoot(),
    },
    info: { fingerprint },
  };
}

interface Ticks {
  readonly total: number;
  readonly idle: number;
  readonly wait: number;
}

async function processorTicks(): Promise<Ticks> {
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n', 1);
  // user nice system idle iowait irq softirq steal; what guests took is in user already.
  const counts = line.split(/\s+/).slice(1, 9).map(Number);
  return { total: counts.reduce((sum, each) => sum + each, 0), idle: counts[3] ?? 0, wait: counts[4] ?? 0 };
}

function sharesBetween(before: Ticks, after: Ticks): { cpu: number; wait: number } {
  const total = after.total - before.total;
  if (total <= 0) return { cpu: 0, wait: 0 };
  const wait = Math.max(0, after.wait - before.wait) / total;
  const idle = Math.max(0, after.idle - before.idle) / total;
  return { cpu: Math.max(0, 1 - idle - wait), wait };
}

async function memoryOf() {
  const text = await readFile('/proc/meminfo', 'utf8');
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
  const [total, available] = [of('MemTotal'), of('MemAvailable')];
  const [swapTotal, swapFree] = [of('SwapTotal'), of('SwapFree')];
  return {
    memory: { total, used: total - available, free: of('MemFree') },
    swap: { total: swapTotal, used: swapTotal - swapFree, free: swapFree },
  };
}

/** Processors tell the socket that they sit in; virtual ones may not, and sit in one. */
async function socketCount(): Promise<number> {
  const ids = (await readFile('/proc/cpuinfo', 'utf8')).matchAll(/^physical id\s*:\s*(\d+)/gm);
  return Math.max(1, new Set([...ids].map(([, id]) => id)).size);
}

/** The last byte of the firmware's variable says it. */
async function isSecureBoot(): Promise<boolean> {
  try {
    const variable = await readFile('/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c');
    return variable.at(-1) === 1;
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return false;
  }
}
