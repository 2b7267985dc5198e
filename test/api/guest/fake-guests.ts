// Virtual machines and storages in memory, behind the interfaces that the guest dialect asks for.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Duplex } from 'node:stream';
import type {
  CloneOptions,
  ConfigChange,
  CreateOptions,
  GuestService,
  GuestWork,
  PowerOptions,
  StorageService,
  StoredVolume,
  VmConfig,
  VmSnapshot,
  VmStatus,
} from '../../../src/api/guest/services.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

interface Guest {
  values: Record<string, string>;
  /** As it runs, where that is something else. */
  running?: Record<string, string>;
  description: string | undefined;
  isRunning: boolean;
  snapshots: (VmSnapshot & { values: Record<string, string> })[];
}

/** The guest's end: what was typed, and what it says. */
export class FakeSerial extends Duplex {
  typed = '';
  /** It takes nothing that is typed. */
  isDeaf = false;

  override _read(): void {}
  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.typed += bytes.toString();
    this.emit('typed');
    if (!this.isDeaf) done();
  }

  /** Waits until that was typed, in all. */
  async hears(text: string): Promise<void> {
    while (this.typed !== text) await once(this, 'typed', { signal: AbortSignal.timeout(5000) });
  }
}

export class FakeGuests implements GuestService {
  readonly all = new Map<number, Guest>();
  readonly asked: { readonly call: string; readonly vmid: number; readonly options: unknown }[] = [];
  /** What every operation that is a task waits for. */
  gate: Promise<unknown> = Promise.resolve();
  /** Serial ports that consoles opened. */
  readonly serials: FakeSerial[] = [];

  add(vmid: number, values: Record<string, string> = {}): void {
    this.all.set(vmid, { values, description: undefined, isRunning: false, snapshots: [] });
  }

  async exists(vmid: number): Promise<boolean> {
    return this.all.has(vmid);
  }
  async list(): Promise<VmStatus[]> {
    return [...this.all.keys()].map((vmid) => this.#status(vmid));
  }
  async status(vmid: number): Promise<VmStatus> {
    return this.#status(vmid);
  }
  async config(vmid: number, { snapshot, current }: { snapshot?: string; current?: boolean }): Promise<VmConfig> {
    const guest = this.#of(vmid);
    const now = current ? (guest.running ?? guest.values) : guest.values;
    const values = snapshot === undefined ? now : this.#snapshotOf(guest, snapshot).values;
    const { description } = guest;
    return { values, digest: digestOf(guest), ...(description === undefined ? {} : { description }) };
  }
  async setConfig(vmid: number, change: ConfigChange): Promise<void> {
    this.asked.push({ call: 'setConfig', vmid, options: change });
    const guest = this.#of(vmid);
    if (change.digest !== undefined && change.digest !== digestOf(guest))
      throw new HoldfastError('config-changed', 'the configuration has changed', { data: { vmid } });
    if (guest.values.lock !== undefined && !change.skipLock)
      throw new HoldfastError('guest-locked', 'it is locked', { data: { vmid, lock: guest.values.lock } });
    if (change.set.cores === '4096')
      throw new HoldfastError('bad-argument', 'too many cores', { data: { key: 'cores' } });
    const { description, ...set } = change.set;
    guest.values = { ...guest.values, ...set };
    if (description !== undefined) guest.description = description;
    for (const key of change.remove) delete guest.values[key];
  }
  async create(vmid: number, options: CreateOptions, work: GuestWork): Promise<void> {
    this.asked.push({ call: 'create', vmid, options });
    await this.gate;
    work.log(`creating ${vmid}`);
    const { description, ...values } = options.settings;
    this.add(vmid, { memory: '512', ...values });
    this.#of(vmid).description = description;
  }
  async destroy(vmid: number, options: object): Promise<void> {
    this.asked.push({ call: 'destroy', vmid, options });
    this.all.delete(vmid);
  }
  async start(vmid: number, options: PowerOptions, work: GuestWork): Promise<void> {
    this.asked.push({ call: 'start', vmid, options });
    const guest = this.#of(vmid);
    await this.gate;
    if (guest.isRunning) throw new HoldfastError('guest-running', 'it runs', { data: { vmid } });
    work.log('QEMU starts');
    guest.isRunning = true;
  }
  async stop(vmid: number, options: PowerOptions): Promise<void> {
    this.asked.push({ call: 'stop', vmid, options });
    this.#of(vmid).isRunning = false;
  }
  async shutdown(vmid: number, options: PowerOptions): Promise<void> {
    this.asked.push({ call: 'shutdown', vmid, options });
    this.#of(vmid).isRunning = false;
  }
  async reset(vmid: number): Promise<void> {
    this.#requireRunning(vmid);
  }
  async reboot(vmid: number): Promise<void> {
    this.#requireRunning(vmid);
  }
  async suspend(vmid: number, options: PowerOptions): Promise<void> {
    this.asked.push({ call: 'suspend', vmid, options });
    this.#requireRunning(vmid);
  }
  async resume(vmid: number): Promise<void> {
    this.#requireRunning(vmid);
  }
  async clone(vmid: number, newid: number, options: CloneOptions): Promise<void> {
    this.asked.push({ call: 'clone', vmid, options: { newid, ...options } });
    this.add(newid, { ...this.#of(vmid).values, ...(options.name === undefined ? {} : { name: options.name }) });
  }
  async makeTemplate(vmid: number): Promise<void> {
    this.#of(vmid).values.template = '1';
  }
  async resize(vmid: number, options: { disk: string; size: string }): Promise<void> {
    this.asked.push({ call: 'resize', vmid, options });
  }
  async moveDisk(vmid: number, options: object): Promise<void> {
    this.asked.push({ call: 'moveDisk', vmid, options });
  }
  async snapshots(vmid: number) {
    const { snapshots } = this.#of(vmid);
    const last = snapshots.at(-1);
    return { snapshots, ...(last === undefined ? {} : { parent: last.name }) };
  }
  async snapshot(
    vmid: number,
    name: string,
    { description, withMemory }: { description: string; withMemory: boolean },
  ) {
    const guest = this.#of(vmid);
    if (guest.snapshots.some((each) => each.name === name))
      throw new HoldfastError('exists', `snapshot name '${name}' already used`);
    guest.snapshots.push({ name, description, withMemory, time: 1_700_000_000, values: { ...guest.values } });
  }
  async rollback(vmid: number, name: string): Promise<void> {
    const guest = this.#of(vmid);
    guest.values = { ...this.#snapshotOf(guest, name).values };
  }
  async deleteSnapshot(vmid: number, name: string): Promise<void> {
    const guest = this.#of(vmid);
    this.#snapshotOf(guest, name);
    guest.snapshots = guest.snapshots.filter((each) => each.name !== name);
  }
  async describeSnapshot(vmid: number, name: string, description: string): Promise<void> {
    const guest = this.#of(vmid);
    this.#snapshotOf(guest, name);
    guest.snapshots = guest.snapshots.map((each) => (each.name === name ? { ...each, description } : each));
  }
  async hasFeature(_vmid: number, feature: string): Promise<boolean> {
    return feature !== 'copy';
  }
  async agent(vmid: number, command: string, args: object): Promise<unknown> {
    this.asked.push({ call: command, vmid, options: args });
    if (!this.#of(vmid).isRunning) throw new HoldfastError('guest-agent-silent', 'no answer', { data: { vmid } });
    if (command === 'guest-exec') return { pid: 42 };
    if (command === 'guest-exec-status')
      return { exited: true, exitcode: 0, 'out-data': Buffer.from('hello\n').toString('base64') };
    return command === 'guest-network-get-interfaces' ? [{ name: 'lo', 'ip-addresses': [] }] : {};
  }
  async serialPort(vmid: number, wanted: number | undefined): Promise<number> {
    this.#requireRunning(vmid);
    if (this.#of(vmid).values[`serial${wanted ?? 0}`] !== 'socket')
      throw new HoldfastError('bad-argument', 'unable to find a serial interface', { data: { key: 'serial' } });
    return wanted ?? 0;
  }
  async openSerialPort(vmid: number, index: number): Promise<Duplex> {
    const port = new FakeSerial();
    this.asked.push({ call: 'openSerialPort', vmid, options: { index } });
    this.serials.push(port);
    return port;
  }
  async nextFreeId(): Promise<number> {
    for (let vmid = 100; ; vmid++) if (!this.all.has(vmid)) return vmid;
  }

  #of(vmid: number): Guest {
    const guest = this.all.get(vmid);
    if (guest === undefined) throw new HoldfastError('not-found', `there is no guest ${vmid}`);
    return guest;
  }
  #snapshotOf(guest: Guest, name: string) {
    const found = guest.snapshots.find((each) => each.name === name);
    if (found === undefined) throw new HoldfastError('not-found', `snapshot '${name}' does not exist`);
    return found;
  }
  #requireRunning(vmid: number): void {
    if (!this.#of(vmid).isRunning) throw new HoldfastError('guest-stopped', 'it does not run', { data: { vmid } });
  }
  #status(vmid: number): VmStatus {
    const { values, isRunning } = this.#of(vmid);
    return {
      vmid,
      status: isRunning ? 'running' : 'stopped',
      qmpStatus: isRunning ? 'running' : 'stopped',
      isTemplate: values.template === '1',
      hasAgent: values.agent !== undefined,
      hasSerial: values.serial0 !== undefined,
      cpus: Number(values.cores ?? 1),
      memoryBytes: Number(values.memory ?? 512) * 1024 ** 2,
      diskBytes: 1024 ** 3,
      ...(values.name === undefined ? {} : { name: values.name }),
      ...(values.tags === undefined ? {} : { tags: values.tags }),
      ...(values.lock === undefined ? {} : { lock: values.lock }),
      ...(isRunning ? { pid: 4711, uptimeSeconds: 12.7 } : {}),
    };
  }
}

export class FakeStorages implements StorageService {
  volumesOf: StoredVolume[] = [
    { volid: 'local:iso/tiny.iso', content: 'iso', format: 'iso', sizeBytes: 1024 },
    { volid: 'disks:vm-100-disk-0', content: 'images', format: 'raw', sizeBytes: 1024 ** 3, vmid: 100 },
  ];

  async list() {
    const common = { isEnabled: true, isShared: false };
    return [
      { storage: 'local', type: 'dir', content: ['iso', 'backup'], options: { path: '/var/lib/vz' }, ...common },
      { storage: 'disks', type: 'dir', content: ['images'], options: { path: '/disks' }, ...common },
    ];
  }
  async digest(): Promise<string> {
    return 'ab'.repeat(20);
  }
  async status(storage: string) {
    if (storage === 'disks') throw new HoldfastError('target-failed', 'it is not mounted');
    return { isActive: true, totalBytes: 1000, usedBytes: 250, availableBytes: 750 };
  }
  async volumes(storage: string, { content, vmid }: { content?: string; vmid?: number }) {
    return this.volumesOf
      .filter(({ volid }) => volid.startsWith(`${storage}:`))
      .filter((each) => content === undefined || each.content === content)
      .filter((each) => vmid === undefined || each.vmid === vmid);
  }
  async volume(volid: string) {
    const found = this.volumesOf.find((each) => each.volid === volid);
    if (found === undefined) throw new HoldfastError('not-found', `no such volume '${volid}'`);
    return { ...found, path: `/somewhere/${volid}` };
  }
  async allocate(storage: string, { vmid, name, sizeBytes }: { vmid: number; name: string; sizeBytes: number }) {
    const volid = `${storage}:${name}`;
    this.volumesOf.push({ volid, content: 'images', format: 'raw', sizeBytes, vmid });
    return volid;
  }
  async remove(volid: string): Promise<void> {
    this.volumesOf = this.volumesOf.filter((each) => each.volid !== volid);
  }
}

function digestOf({ values, description }: Guest): string {
  return createHash('sha1')
    .update(JSON.stringify([values, description]))
    .digest('hex');
}
