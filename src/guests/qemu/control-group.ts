// The control group that a virtual machine's QEMU runs in: its limits, and the certain way to find and to end all of its processes. It is
// found by its name (`holdfast/vm-VMID`), outlives the process that made it, and nothing that happens to that process reaches what is in it.
import { mkdir, readdir, readFile, rmdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { type CpuAndMemory, findScope, isSystemdBooted, scopeCommand } from './systemd-scope.ts';

/** What a guest may take, in Proxmox's words. */
export type ControlLimits = CpuAndMemory;

export interface ControlGroup {
  /** What to put before a command so that it, and all it starts, run in the group. */
  readonly argvPrefix: readonly string[];
  /** Where it is and what of the limits holds, for a person. */
  readonly describe: string;
  /** Ids of its processes; none where there is no group. */
  pids(): Promise<number[]>;
  /** Ends all of them with SIGKILL and waits until none is left. @throws `timed-out` after 10 s. */
  kill(): Promise<void>;
  /** Idempotent. @throws `guest-running` while it has processes. */
  remove(): Promise<void>;
}

export interface ControlGroupOptions {
  /** Name of the node, as its run directory is called: VMIDs of two nodes on one host do not meet. Default `holdfast`. */
  readonly node?: string;
  readonly root?: string;
  /** Default: whether it is PID 1. */
  readonly systemd?: boolean;
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_ROOT = '/sys/fs/cgroup';
const DEFAULT_NODE = 'holdfast';
const MAX_CPULIMIT = 128;
const PERIOD_US = 100_000;
/** The kernel takes no shorter quota. */
const MIN_QUOTA_US = 1000;
const KILL_MS = 10_000;
/** A group whose last process is ending is busy for a moment. */
const REMOVE_MS = 2000;

/** What the kernel takes for shares of the processor, and what it means to say nothing. */
const UNITS = { v2: { min: 1, max: 10_000, default: 100 }, v1: { min: 2, max: 262_144, default: 1024 } } as const;

/** Group directories, of which the first lists the processes, and what became of the limits. */
interface Made {
  readonly directories: readonly string[];
  readonly notes: readonly string[];
}

/**
 * Makes the group of a guest or takes the one that is there, with these limits. `cpulimit` counts processors; `cpuunits` is a share beside others,
 * by default 100 in version 2 and 1024 in version 1 of control groups, and is cut to what the kernel takes. Where no group can be made, one without effect, which says so.
 * @throws `bad-argument` for limits that make no sense.
 */
export async function openControlGroup(
  vmid: GuestId,
  limits: ControlLimits,
  options: ControlGroupOptions = {},
): Promise<ControlGroup> {
  const { root = DEFAULT_ROOT, node = DEFAULT_NODE, signal } = options;
  requireLimits(vmid, limits);
  signal?.throwIfAborted();
  if (options.systemd ?? (root === DEFAULT_ROOT && process.getuid?.() === 0 && (await isSystemdBooted())))
    return openScope(`${node}-vm-${vmid}`, vmid, limits, root, signal);
  const place = join(node, `vm-${vmid}`);
  try {
    const isV2 = (await readdir(root)).includes('cgroup.controllers');
    const { directories, notes } = isV2 ? await makeV2(root, place, limits) : await makeV1(root, place, limits);
    if (directories.length === 0) return noGroup(vmid, notes.join('; '));
    const describe = [`control group ${directories.join(', ')}`, ...notes].join('; ');
    return new Directories(vmid, describe, async () => directories, enterCommand(`vm-${vmid}`, directories));
  } catch (error) {
    if (!['EACCES', 'EPERM', 'EROFS', 'ENOENT'].includes(systemCode(error) ?? '')) throw error;
    return noGroup(vmid, (error as Error).message);
  }
}

function noGroup(vmid: GuestId, why: string): ControlGroup {
  return new Directories(vmid, `no control group, and no limits: ${why}`, async () => [], []);
}

function requireLimits(vmid: GuestId, { cpulimit = 0, cpuunits = 100, memoryMaxBytes = 1 }: ControlLimits): void {
  const wrong = (what: string) => new HoldfastError('bad-argument', `guest ${vmid}: ${what}`);
  if (!(cpulimit >= 0 && cpulimit <= MAX_CPULIMIT))
    throw wrong(`cpulimit ${cpulimit} is not from 0 to ${MAX_CPULIMIT}`);
  if (!Number.isInteger(cpuunits) || cpuunits < 1 || cpuunits > UNITS.v1.max)
    throw wrong(`cpuunits ${cpuunits} are not from 1 to ${UNITS.v1.max}`);
  if (!Number.isSafeInteger(memoryMaxBytes) || memoryMaxBytes < 1)
    throw wrong(`a memory limit of ${memoryMaxBytes} bytes`);
}

function clampUnits(units: number | undefined, version: keyof typeof UNITS): number {
  const { min, max, default: usual } = UNITS[version];
  return Math.min(max, Math.max(min, units ?? usual));
}

const quotaUs = (cpulimit: number) => Math.max(MIN_QUOTA_US, Math.round(cpulimit * PERIOD_US));

/** Enters each group as the shell that then becomes the command. Nothing from outside is part of the script. */
function enterCommand(name: string, directories: readonly string[]): string[] {
  const script =
    'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ > "$1" || exit 125; shift; n=$((n - 1)); done; exec "$@"';
  return [
    '/bin/sh',
    '-c',
    script,
    `holdfast-${name}`,
    String(directories.length),
    ...directories.map((path) => join(path, 'cgroup.procs')),
  ];
}

async function makeV2(
  root: string,
  place: string,
  { cpulimit, cpuunits, memoryMaxBytes }: ControlLimits,
): Promise<Made> {
  const directory = join(root, place);
  const parent = dirname(directory);
  await mkdir(directory, { recursive: true });
  const notes: string[] = [];
  const controllers = ['cpu', ...(memoryMaxBytes === undefined ? [] : ['memory'])];
  for (const controller of controllers)
    for (const path of [root, parent]) await tryWrite(join(path, 'cgroup.subtree_control'), `+${controller}`);
  const set = async (file: string, value: string, asked: boolean) => {
    const failed = await tryWrite(join(directory, file), value);
    if (failed !== undefined && asked) notes.push(`${file} = ${value} does not hold (${failed})`);
  };
  await set('cpu.max', cpulimit ? `${quotaUs(cpulimit)} ${PERIOD_US}` : `max ${PERIOD_US}`, Boolean(cpulimit));
  await set('cpu.weight', String(clampUnits(cpuunits, 'v2')), cpuunits !== undefined);
  if (memoryMaxBytes !== undefined) await set('memory.max', String(memoryMaxBytes), true);
  return { directories: [directory], notes };
}

/** Version 1: a tree for each controller, and beside them perhaps an empty version 2, which then lists the processes. */
async function makeV1(
  root: string,
  place: string,
  { cpulimit, cpuunits, memoryMaxBytes }: ControlLimits,
): Promise<Made> {
  const trees = await readdir(root);
  const notes: string[] = [];
  const directories: string[] = [];
  const make = async (tree: string) => {
    const directory = join(root, tree, place);
    await mkdir(directory, { recursive: true });
    directories.push(directory);
    return directory;
  };
  const lists = ['unified', 'pids', 'freezer'].find((tree) => trees.includes(tree));
  if (lists !== undefined) await make(lists);
  const limit = async (tree: string, values: Record<string, string>) => {
    if (!trees.includes(tree)) {
      notes.push(`no limits of ${tree}: the kernel has no such controller`);
      return;
    }
    const directory = await make(tree).catch((error: unknown) => {
      // Without this limit rather than without any group.
      if (systemCode(error) === undefined) throw error;
      notes.push(`no limits of ${tree}: ${(error as Error).message}`);
      return undefined;
    });
    if (directory === undefined) return;
    for (const [file, value] of Object.entries(values)) {
      const failed = await tryWrite(join(directory, file), value);
      if (failed !== undefined) notes.push(`${file} = ${value} does not hold (${failed})`);
    }
  };
  await limit('cpu', {
    'cpu.cfs_period_us': String(PERIOD_US),
    'cpu.cfs_quota_us': String(cpulimit ? quotaUs(cpulimit) : -1),
    'cpu.shares': String(clampUnits(cpuunits, 'v1')),
  });
  if (memoryMaxBytes !== undefined) await limit('memory', { 'memory.limit_in_bytes': String(memoryMaxBytes) });
  return { directories, notes };
}

/** Why the kernel did not take it. */
async function tryWrite(path: string, value: string): Promise<string | undefined> {
  try {
    await writeFile(path, value);
    return undefined;
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    return code;
  }
}

async function openScope(
  unit: string,
  vmid: GuestId,
  limits: ControlLimits,
  root: string,
  signal: AbortSignal | undefined,
): Promise<ControlGroup> {
  const cpuunits = limits.cpuunits === undefined ? undefined : clampUnits(limits.cpuunits, 'v2');
  // Where it is, is known once a command runs in it; of a mixed layout systemd's own tree lists the processes.
  const find = async () => {
    const path = await findScope(unit, signal);
    if (path === undefined) return [];
    const tops = (await readdir(root)).includes('cgroup.controllers')
      ? [root]
      : [join(root, 'unified'), join(root, 'systemd')];
    for (const top of tops) if (await exists(join(top, path))) return [join(top, path)];
    return [];
  };
  return new Directories(vmid, `systemd's ${unit}.scope`, find, scopeCommand(unit, { ...limits, cpuunits }));
}

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

class Directories implements ControlGroup {
  readonly describe: string;
  readonly argvPrefix: readonly string[];
  readonly #vmid: GuestId;
  readonly #find: () => Promise<readonly string[]>;

  constructor(vmid: GuestId, describe: string, find: () => Promise<readonly string[]>, argvPrefix: readonly string[]) {
    this.#vmid = vmid;
    this.describe = describe;
    this.#find = find;
    this.argvPrefix = argvPrefix;
  }

  async pids(): Promise<number[]> {
    // All trees: a process that left one of them is still ours.
    const lists = await Promise.all((await this.#find()).map(readPids));
    return [...new Set(lists.flat())].sort((a, b) => a - b);
  }

  async kill(): Promise<void> {
    const end = Date.now() + KILL_MS;
    for (let pauseMs = 1; ; pauseMs = Math.min(100, pauseMs * 2)) {
      // Again each time: a process may have started another between the list and its end.
      for (const directory of await this.#find()) await tryKillGroup(directory);
      const left = await this.pids();
      for (const pid of left) killProcess(pid);
      if (left.length === 0) return;
      if (Date.now() > end)
        throw new HoldfastError(
          'timed-out',
          `processes ${left.join(', ')} of guest ${this.#vmid} do not end within ${KILL_MS} ms of SIGKILL: the kernel holds them, mostly in I/O`,
          { data: { pids: left } },
        );
      await sleep(pauseMs);
    }
  }

  async remove(): Promise<void> {
    const end = Date.now() + REMOVE_MS;
    for (const directory of await this.#find()) {
      while (!(await removeDirectory(directory))) {
        const left = await readPids(directory);
        if (left.length > 0 || Date.now() > end)
          throw new HoldfastError(
            'guest-running',
            `${directory} of guest ${this.#vmid} has processes: ${left.join(', ')}; end them first`,
            { data: { pids: left } },
          );
        await sleep(10);
      }
    }
  }
}

async function readPids(directory: string): Promise<number[]> {
  try {
    const text = await readFile(join(directory, 'cgroup.procs'), 'utf8');
    // 0 is a process that this PID namespace does not see: nothing to send a signal to.
    return text
      .split('\n')
      .map(Number)
      .filter((pid) => pid > 0);
  } catch (error) {
    // Gone, also between opening and reading (ENODEV).
    if (['ENOENT', 'ENODEV'].includes(systemCode(error) ?? '')) return [];
    throw error;
  }
}

/** Version 2 since Linux 5.14; elsewhere the processes are ended one by one. */
async function tryKillGroup(directory: string): Promise<void> {
  if (await exists(join(directory, 'cgroup.kill'))) await tryWrite(join(directory, 'cgroup.kill'), '1');
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (systemCode(error) !== 'ESRCH') throw error;
  }
}

/** False while it is in use. */
async function removeDirectory(directory: string): Promise<boolean> {
  try {
    await rmdir(directory);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return true;
    if (systemCode(error) === 'EBUSY') return false;
    throw error;
  }
}
