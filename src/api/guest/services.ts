// What the guest dialect needs of the node: its virtual machines and its storages, as interfaces that the composition root fills.
import type { Duplex } from 'node:stream';
import type { Pools } from '../../auth/pools.ts';
import type { KeepCounts } from '../../datastore/prune/keep-rules.ts';
import type { TaskWork } from '../../jobs/tasks/task.ts';
import type { AuthId } from '../../schema/auth-id.ts';
import type { CommonServices, JobCalls } from '../services.ts';
import type { Consoles } from './console/consoles.ts';

export interface GuestServices extends CommonServices {
  readonly guests: GuestService;
  readonly storages: StorageService;
  readonly consoles: Consoles;
  readonly backups: BackupService;
  readonly jobs: Omit<JobCalls, 'run'>;
  readonly pools: PoolCalls;
}

/** Who may do what is checked behind it; what it throws is in words that go out as they are. */
export type PoolCalls = Pick<
  Pools,
  'list' | 'get' | 'require' | 'poolsOfGuests' | 'create' | 'change' | 'delete' | 'place' | 'forget' | 'guestIsGone'
>;

/** Of an operation that lasts: its signal, and where it says what it does. */
export type GuestWork = Pick<TaskWork, 'signal' | 'log' | 'warn' | 'progress'>;

/** Sizes in bytes. What is not known, or is not of a guest that is stopped, is left out. */
export interface VmSummary {
  readonly vmid: number;
  readonly name?: string;
  readonly status: 'running' | 'stopped';
  readonly isTemplate: boolean;
  readonly lock?: string;
  /** `a;b`. */
  readonly tags?: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  /** Of the disk that it boots from. */
  readonly diskBytes: number;
  readonly pid?: number;
  readonly uptimeSeconds?: number;
  readonly usage?: Partial<VmUsage>;
}

export interface VmUsage {
  /** 0 to 1, of all its processors. */
  readonly cpu: number;
  readonly memoryBytes: number;
  readonly diskReadBytes: number;
  readonly diskWriteBytes: number;
  readonly netInBytes: number;
  readonly netOutBytes: number;
}

export interface VmStatus extends VmSummary {
  /** QEMU's own word: running, paused, prelaunch and so on. */
  readonly qmpStatus: string;
  readonly hasAgent: boolean;
  readonly hasSerial: boolean;
  readonly runningMachine?: string;
  readonly runningQemu?: string;
}

/** Keys in Proxmox's syntax, as texts: booleans are `0` and `1`. */
export type VmSettings = Readonly<Record<string, string>>;

export interface VmConfig {
  /** Without the description. */
  readonly values: VmSettings;
  readonly description?: string;
  /** SHA-1 of the file, 40 hexadecimal digits. */
  readonly digest: string;
}

export interface ConfigChange {
  /** `description` among them. */
  readonly set: VmSettings;
  readonly remove: readonly string[];
  /** It fails with `config-changed` when this is not the digest any more. */
  readonly digest?: string;
  /** Volumes of removed disks go too. */
  readonly force?: boolean;
  readonly skipLock?: boolean;
}

export interface CreateOptions {
  readonly settings: VmSettings;
  /** For new volumes that name none. */
  readonly storage?: string;
}

export interface DestroyOptions {
  readonly purge: boolean;
  readonly destroyUnreferencedDisks: boolean;
  readonly skipLock: boolean;
}

export interface PowerOptions {
  readonly timeoutMs?: number;
  readonly skipLock?: boolean;
  /** Of shutdown: stopped hard when the time is over. */
  readonly forceStop?: boolean;
  /** Of suspend: memory goes to a volume, and the process ends. */
  readonly toDisk?: boolean;
  /** Of suspend to disk. */
  readonly stateStorage?: string;
}

export type PowerAction = 'start' | 'shutdown' | 'stop' | 'reset' | 'reboot' | 'suspend' | 'resume';

export interface CloneOptions {
  /** Volumes are copied; else they build on those of a template. */
  readonly isFull: boolean;
  readonly name?: string;
  readonly description?: string;
  readonly snapshot?: string;
  readonly storage?: string;
  readonly format?: string;
}

export interface MoveDiskOptions {
  readonly disk: string;
  readonly storage: string;
  readonly format?: string;
  /** The old volume goes; else it becomes an unused one. */
  readonly deletesOld: boolean;
  readonly digest?: string;
}

export interface VmSnapshot {
  readonly name: string;
  readonly description: string;
  readonly parent?: string;
  /** Unix seconds. */
  readonly time: number;
  readonly withMemory: boolean;
}

export interface VmSnapshots {
  /** Oldest first. */
  readonly snapshots: readonly VmSnapshot[];
  /** What the running state builds on. */
  readonly parent?: string;
}

/**
 * The virtual machines of this node. All of it throws HoldfastError: `not-found` for a guest or a snapshot that is not there, `exists`,
 * `guest-locked` (with `data.lock`), `guest-running` and `guest-stopped` (with `data.vmid`), `guest-agent-silent`, `config-changed`, and
 * `bad-argument` for a setting (with its key as `data.key`).
 */
export interface GuestService extends Record<PowerAction, PowerCall> {
  exists(vmid: number): Promise<boolean>;
  /** In no order. Takes little more than `answerMs` (5 s): whose QEMU does not answer by then is told as far as it is known without. */
  list(answerMs?: number): Promise<readonly VmSummary[]>;
  status(vmid: number): Promise<VmStatus>;
  /** With changes that wait for the next start, unless `current`. */
  config(vmid: number, options: { readonly snapshot?: string; readonly current?: boolean }): Promise<VmConfig>;
  setConfig(vmid: number, change: ConfigChange, work: GuestWork): Promise<void>;
  create(vmid: number, options: CreateOptions, work: GuestWork): Promise<void>;
  destroy(vmid: number, options: DestroyOptions, work: GuestWork): Promise<void>;
  clone(vmid: number, newid: number, options: CloneOptions, work: GuestWork): Promise<void>;
  makeTemplate(vmid: number, options: { readonly disk?: string }, work: GuestWork): Promise<void>;
  /** `size` as Proxmox writes it: `32G`, or `+1G`. */
  resize(
    vmid: number,
    options: { readonly disk: string; readonly size: string; readonly digest?: string },
    work: GuestWork,
  ): Promise<void>;
  moveDisk(vmid: number, options: MoveDiskOptions, work: GuestWork): Promise<void>;
  snapshots(vmid: number): Promise<VmSnapshots>;
  snapshot(
    vmid: number,
    name: string,
    options: { readonly description: string; readonly withMemory: boolean },
    work: GuestWork,
  ): Promise<void>;
  rollback(vmid: number, name: string, options: { readonly start: boolean }, work: GuestWork): Promise<void>;
  /** `force`: the entry goes also when a volume's snapshot cannot be removed. */
  deleteSnapshot(vmid: number, name: string, options: { readonly force: boolean }, work: GuestWork): Promise<void>;
  describeSnapshot(vmid: number, name: string, description: string): Promise<void>;
  /** Whether its disks can do that now. */
  hasFeature(vmid: number, feature: 'snapshot' | 'clone' | 'copy', snapshot?: string): Promise<boolean>;
  /** One command of the agent in the guest, in its own words. */
  agent(vmid: number, command: string, args: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<unknown>;
  /** The index of the serial port for a console: the wanted one, or the guest's own choice. */
  serialPort(vmid: number, wanted: number | undefined): Promise<number>;
  openSerialPort(vmid: number, index: number, signal: AbortSignal): Promise<Duplex>;
  /** The lowest VMID that no guest has. */
  nextFreeId(): Promise<number>;
}

type PowerCall = (vmid: number, options: PowerOptions, work: GuestWork) => Promise<void>;

export interface StorageEntry {
  readonly storage: string;
  readonly type: string;
  /** `images`, `iso` and so on. */
  readonly content: readonly string[];
  readonly isEnabled: boolean;
  readonly isShared: boolean;
  /** What else its configuration has, without secrets. */
  readonly options: Readonly<Record<string, string | number>>;
}

export interface StorageStatus {
  readonly isActive: boolean;
  readonly totalBytes: number;
  readonly usedBytes: number;
  readonly availableBytes: number;
}

export interface StoredVolume {
  /** `STORAGE:NAME`. */
  readonly volid: string;
  readonly content: string;
  readonly format: string;
  readonly sizeBytes: number;
  readonly usedBytes?: number;
  /** Unix seconds. */
  readonly created?: number;
  readonly vmid?: number;
  readonly parent?: string;
  readonly notes?: string;
  readonly isProtected?: boolean;
  /** Fingerprint of the key of a backup. */
  readonly encrypted?: string;
  readonly verification?: { readonly state: 'ok' | 'failed'; readonly upid?: string };
}

/** The storages of this node. Throws HoldfastError: `not-found` for a storage or volume that is not there, and what a storage throws. */
export interface StorageService {
  list(): Promise<readonly StorageEntry[]>;
  /** SHA-1 of the configuration, 40 hexadecimal digits. */
  digest(): Promise<string>;
  status(storage: string): Promise<StorageStatus>;
  volumes(
    storage: string,
    filter: { readonly content?: string; readonly vmid?: number },
  ): Promise<readonly StoredVolume[]>;
  /** `path` is where it lies on this node. */
  volume(volid: string): Promise<StoredVolume & { readonly path: string }>;
  /** A new volume of a guest; its volume id. `name` is that of its file. */
  allocate(
    storage: string,
    volume: { readonly vmid: number; readonly name: string; readonly sizeBytes: number; readonly format?: string },
  ): Promise<string>;
  remove(volid: string, work: GuestWork): Promise<void>;
}

/** Of an order to the agent of this machine. */
export type OrderWork = Pick<TaskWork, 'signal' | 'log' | 'warn' | 'onProgress'>;

export interface GuestBackup {
  /** A datastore. */
  readonly storage: string;
  readonly vmid: number;
  readonly mode: 'snapshot' | 'suspend' | 'stop';
  readonly lockwaitMinutes: number;
  readonly isProtected: boolean;
  readonly ionice?: number;
  /** KiB a second; 0 for no limit. */
  readonly bwlimit?: number;
  readonly notesTemplate?: string;
  readonly fleecingStorage?: string;
  readonly script?: string;
}

export interface GuestRestore {
  /** Of a backup in a datastore. */
  readonly volid: string;
  readonly vmid: number;
  /** Undefined: the storages that the backup names. */
  readonly storage?: string;
  readonly force: boolean;
  readonly unique: boolean;
  readonly start: boolean;
  /** It runs at once, and its disks are copied meanwhile. */
  readonly isLive: boolean;
  /** KiB a second, of a live restore. */
  readonly bwlimit?: number;
}

/** Backups of the guests of this machine in the datastores of this server. Volume ids are those of backups that storages list. */
export interface BackupService {
  /** @throws `node-offline` when nobody is there to do it. */
  requireReady(): void;
  /** Answers with what the agent says. @throws what `holdfast vm backup` does, `node-offline`, `not-allowed`. */
  backup(wish: GuestBackup, work: OrderWork): Promise<unknown>;
  /** Removes what the rules do not keep of a guest's backups. @throws `not-found`, and what a prune does. */
  prune(storage: string, vmid: number, counts: KeepCounts, work: TaskWork): Promise<void>;
  /** @throws what `holdfast vm restore` does, `node-offline`, `not-allowed`. */
  restore(wish: GuestRestore, work: OrderWork): Promise<void>;
  /** The configuration that a backup holds; undefined for one that is encrypted. @throws `not-found`, `too-large`. */
  config(volid: string, caller: AuthId): Promise<string | undefined>;
  /** `mayClear`: for somebody who may settle anomalies. @throws `not-found`, and what changing a snapshot does. */
  change(
    volid: string,
    change: { readonly notes?: string; readonly protected?: boolean },
    mayClear: boolean,
  ): Promise<void>;
}
