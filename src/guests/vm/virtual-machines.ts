// All operations on a node's virtual machines in one place, in the words of the API: numbers in, plain values out. Of two calls it keeps
// only what shows how busy a guest was between them.
import { type GuestId, parseGuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { parseAgentOption } from '../config/agent-option.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import type { ImageFormat } from '../storage/storage.ts';
import { agentCommand } from './agent-command.ts';
import { cloneVm } from './clone.ts';
import { configureVm } from './configure.ts';
import { createVm } from './create.ts';
import { deleteSnapshotVm } from './delete-snapshot.ts';
import { describeSnapshot } from './describe-snapshot.ts';
import { destroyVm } from './destroy.ts';
import { listSnapshots, requireSnapshot } from './list-snapshots.ts';
import { moveDisk } from './move-disk.ts';
import { resetVm, resumeVm, suspendVm } from './pause.ts';
import { resizeVm } from './resize.ts';
import { rollbackVm } from './rollback.ts';
import { findSerialPort, openSerialPort } from './serial-port.ts';
import { showConfig } from './show-config.ts';
import { rebootVm, shutdownVm } from './shutdown.ts';
import { snapshotVm } from './snapshot.ts';
import { snapshotVolumes } from './snapshot-volumes.ts';
import { startVm } from './start.ts';
import { listVms, type VmStatus, vmStatus } from './status.ts';
import { stopVm } from './stop.ts';
import { ProcessorMeter } from './usage.ts';

/** A task: its signal, and where it says what it does. */
export interface Work extends Report {
  readonly signal: AbortSignal;
}

export interface PowerOptions {
  readonly timeoutMs?: number;
  readonly skipLock?: boolean;
  readonly forceStop?: boolean;
  readonly toDisk?: boolean;
}

type Settings = Readonly<Record<string, string>>;

export class VirtualMachines {
  readonly #node: GuestNode;
  readonly #warn: (line: string) => void;
  readonly #meter = new ProcessorMeter();

  /** `warn` hears of guests that a list leaves out. */
  constructor(node: GuestNode, warn: (line: string) => void) {
    this.#node = node;
    this.#warn = warn;
  }

  async exists(vmid: number): Promise<boolean> {
    return (await this.#node.configs.list()).includes(vmid as GuestId);
  }

  /** Guests whose configuration cannot be read are left out, and told. `answerMs`: what each QEMU gets to answer, 5 s by default. */
  async list(answerMs?: number) {
    return (await listVms(this.#node, this.#warn, { answerMs, meter: this.#meter })).map(summaryOf);
  }

  async status(vmid: number) {
    const id = parseGuestId(vmid);
    const { values } = (await this.#node.configs.read(id)).config;
    const status = await vmStatus(this.#node, id, { meter: this.#meter });
    return {
      ...summaryOf(status),
      qmpStatus: status.qmpStatus,
      hasAgent: parseAgentOption(values.get('agent')).enabled,
      hasSerial: [0, 1, 2, 3].some((index) => values.get(`serial${index}`) === 'socket'),
      ...(status.machineType !== undefined && { runningMachine: status.machineType }),
    };
  }

  /** `current`: as it runs; else with what waits for the next start. */
  async config(
    vmid: number,
    { snapshot, current = false }: { readonly snapshot?: string; readonly current?: boolean },
  ) {
    const { values, description, digest } = await showConfig(this.#node, parseGuestId(vmid), { snapshot, current });
    return { values: Object.fromEntries(values), digest, ...(description !== undefined && { description }) };
  }

  async setConfig(
    vmid: number,
    change: {
      readonly set: Settings;
      readonly remove: readonly string[];
      readonly digest?: string;
      readonly force?: boolean;
      readonly skipLock?: boolean;
    },
    work: Work,
  ): Promise<void> {
    await configureVm(this.#node, parseGuestId(vmid), { ...change, signal: work.signal }, reportOf(work));
  }

  async create(vmid: number, { settings }: { readonly settings: Settings }, work: Work): Promise<void> {
    await createVm(this.#node, parseGuestId(vmid), settings, { signal: work.signal }, reportOf(work));
  }

  async destroy(
    vmid: number,
    options: { readonly destroyUnreferencedDisks: boolean; readonly skipLock: boolean },
    work: Work,
  ): Promise<void> {
    await destroyVm(this.#node, parseGuestId(vmid), { ...options, signal: work.signal }, reportOf(work));
  }

  /** Always a full copy: one that shares the source's bytes is not made. */
  async clone(
    vmid: number,
    newid: number,
    options: {
      readonly name?: string;
      readonly description?: string;
      readonly snapshot?: string;
      readonly storage?: string;
      readonly format?: string;
    },
    work: Work,
  ): Promise<void> {
    const wish = { ...options, format: imageFormat(options.format), signal: work.signal };
    await cloneVm(this.#node, parseGuestId(vmid), parseGuestId(newid), wish, reportOf(work));
  }

  /** A stopped guest that is only cloned from here on; its disks stay as they are. */
  async makeTemplate(vmid: number, { disk }: { readonly disk?: string }, work: Work): Promise<void> {
    if (disk !== undefined)
      throw new HoldfastError('bad-argument', 'one disk alone cannot become a template', { data: { key: 'disk' } });
    await this.setConfig(vmid, { set: { template: '1' }, remove: [] }, work);
  }

  async resize(
    vmid: number,
    options: { readonly disk: string; readonly size: string; readonly digest?: string },
    work: Work,
  ): Promise<void> {
    await resizeVm(this.#node, parseGuestId(vmid), { ...options, signal: work.signal }, reportOf(work));
  }

  async moveDisk(
    vmid: number,
    options: {
      readonly disk: string;
      readonly storage: string;
      readonly format?: string;
      readonly deletesOld: boolean;
      readonly digest?: string;
    },
    work: Work,
  ): Promise<void> {
    const request = { ...options, format: imageFormat(options.format), signal: work.signal };
    await moveDisk(this.#node, parseGuestId(vmid), request, reportOf(work));
  }

  async snapshots(vmid: number) {
    const { config } = await this.#node.configs.read(parseGuestId(vmid));
    const parent = config.values.get('parent');
    const snapshots = listSnapshots(config).map((each) => ({
      name: each.name,
      description: each.description ?? '',
      time: each.time,
      withMemory: false,
      ...(each.parent !== undefined && { parent: each.parent }),
    }));
    return { snapshots, ...(parent !== undefined && { parent }) };
  }

  async snapshot(
    vmid: number,
    name: string,
    { description, withMemory }: { readonly description: string; readonly withMemory: boolean },
    work: Work,
  ): Promise<void> {
    if (withMemory)
      throw new HoldfastError('bad-argument', 'vmstate: a snapshot is of the disks, the memory is not kept', {
        data: { key: 'vmstate' },
      });
    await snapshotVm(this.#node, parseGuestId(vmid), name, { description, signal: work.signal }, reportOf(work));
  }

  async rollback(vmid: number, name: string, { start }: { readonly start: boolean }, work: Work): Promise<void> {
    await rollbackVm(this.#node, parseGuestId(vmid), name, { start, signal: work.signal }, reportOf(work));
  }

  async deleteSnapshot(vmid: number, name: string, { force }: { readonly force: boolean }, work: Work): Promise<void> {
    await deleteSnapshotVm(this.#node, parseGuestId(vmid), name, { force, signal: work.signal }, reportOf(work));
  }

  async describeSnapshot(vmid: number, name: string, description: string): Promise<void> {
    await describeSnapshot(this.#node, parseGuestId(vmid), name, description);
  }

  /** Whether its disks can do that now. */
  async hasFeature(vmid: number, feature: 'snapshot' | 'clone' | 'copy', snapshot?: string): Promise<boolean> {
    const id = parseGuestId(vmid);
    const { config } = await this.#node.configs.read(id);
    const section = snapshot === undefined ? config : requireSnapshot(id, config, snapshot);
    if (feature === 'clone') return false;
    if (feature === 'copy') return (await vmStatus(this.#node, id)).status === 'stopped';
    try {
      await snapshotVolumes(this.#node, id, section);
      return true;
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'target-unfit') return false;
      throw error;
    }
  }

  async agent(
    vmid: number,
    command: string,
    args: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<unknown> {
    return await agentCommand(this.#node, parseGuestId(vmid), command, args, { signal });
  }

  async serialPort(vmid: number, wanted: number | undefined): Promise<number> {
    return await findSerialPort(this.#node, parseGuestId(vmid), wanted);
  }

  async openSerialPort(vmid: number, index: number, signal: AbortSignal) {
    return await openSerialPort(this.#node, parseGuestId(vmid), index, signal);
  }

  async nextFreeId(): Promise<number> {
    return await this.#node.configs.nextFreeId();
  }

  async start(vmid: number, options: PowerOptions, work: Work): Promise<void> {
    await startVm(this.#node, parseGuestId(vmid), { ...options, signal: work.signal }, reportOf(work));
  }

  async stop(vmid: number, options: PowerOptions, work: Work): Promise<void> {
    await stopVm(this.#node, parseGuestId(vmid), { ...options, signal: work.signal }, reportOf(work));
  }

  async shutdown(vmid: number, options: PowerOptions, work: Work): Promise<void> {
    await shutdownVm(this.#node, parseGuestId(vmid), { ...options, signal: work.signal }, reportOf(work));
  }

  async reboot(vmid: number, options: PowerOptions, work: Work): Promise<void> {
    await rebootVm(this.#node, parseGuestId(vmid), { ...options, signal: work.signal }, reportOf(work));
  }

  async reset(vmid: number, options: PowerOptions, work: Work): Promise<void> {
    await resetVm(this.#node, parseGuestId(vmid), { ...options, signal: work.signal });
  }

  async suspend(vmid: number, options: PowerOptions, work: Work): Promise<void> {
    if (options.toDisk === true)
      throw new HoldfastError('bad-argument', 'todisk: the memory of a guest is not kept on disk', {
        data: { key: 'todisk' },
      });
    await suspendVm(this.#node, parseGuestId(vmid), { ...options, signal: work.signal });
  }

  async resume(vmid: number, options: PowerOptions, work: Work): Promise<void> {
    await resumeVm(this.#node, parseGuestId(vmid), { ...options, signal: work.signal });
  }
}

function summaryOf(status: VmStatus) {
  const { vmid, name, lock, tags, pid } = status;
  return {
    vmid: vmid as number,
    name,
    status: status.status,
    isTemplate: status.isTemplate,
    cpus: status.processors,
    memoryBytes: status.memoryBytes,
    diskBytes: status.diskBytes,
    ...(lock !== undefined && { lock }),
    ...(tags !== undefined && { tags }),
    ...(pid !== undefined && {
      pid,
      uptimeSeconds: status.uptimeSeconds,
      usage: { ...status.usage, memoryBytes: status.usedMemoryBytes },
    }),
  };
}

/** Of its own, so that it may be spread and passed on whatever the task is made of. */
function reportOf(work: Work): Report {
  return { log: (line) => work.log(line), warn: (line) => work.warn(line) };
}

function imageFormat(format: string | undefined): ImageFormat | undefined {
  if (format === undefined || format === 'raw' || format === 'qcow2') return format;
  throw new HoldfastError('bad-argument', `format: '${format}' is not raw or qcow2`, { data: { key: 'format' } });
}
