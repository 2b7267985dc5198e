// A node with virtual machines that run the test guest, through our own lifecycle: real configurations, volumes, QEMU processes.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseVmConfig } from '../../../src/guests/config/vm-config.ts';
import { type GuestNode, openGuestNode, type Report } from '../../../src/guests/guest-node.ts';
import { endQemu } from '../../../src/guests/qemu/qemu-process.ts';
import { type GuestId, parseGuestId } from '../../../src/schema/guest-names.ts';
import { run } from '../../../src/util/run.ts';
import { GuestPort } from './guest-port.ts';
import { removeNodeTraces } from './node-traces.ts';
import { prepareTestGuest } from './test-guest.ts';

const BOOT_TIMEOUT_MS = 60_000;

export interface TestVmOptions {
  /** `scsi0` -> what it is made of; sizes in MiB. */
  readonly disks: Readonly<Record<string, { format: 'raw' | 'qcow2'; sizeMiB: number; options?: string }>>;
  /** More lines of the configuration. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** What was logged and warned of. */
export class KeptReport implements Report {
  readonly logs: string[] = [];
  readonly warnings: string[] = [];
  log = (line: string): void => void this.logs.push(line);
  warn = (line: string): void => void this.warnings.push(line);
}

export interface NodeQemu {
  readonly program: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly storageDaemon?: string;
}

export interface TestNodeOptions {
  readonly base?: string;
  /** `hf.NAME=VALUE` for the guest's kernel. */
  readonly words?: string;
  readonly qemu?: NodeQemu;
  /** Its guests run and do nothing at all: they read no disk, and reset no controller (which QEMU answers nobody beside while a read waits). */
  readonly halted?: boolean;
}

export class TestNode {
  readonly path: string;
  readonly node: GuestNode;
  readonly #ids = new Set<GuestId>();

  private constructor(path: string, node: GuestNode) {
    this.path = path;
    this.node = node;
  }

  /** One guest at a time has the test port. */
  static async create(options: TestNodeOptions = {}): Promise<TestNode> {
    const path = await mkdtemp(join(options.base ?? '/dev/shm', 'hf-node-'));
    const guest = options.halted ? await haltingFirmware(path) : await testGuest(path, options.words ?? '');
    await writeFile(
      join(path, 'node.json'),
      JSON.stringify({
        ...(options.qemu && { qemu: options.qemu.program, environment: options.qemu.env ?? {} }),
        ...(options.qemu?.storageDaemon && { qemuStorageDaemon: options.qemu.storageDaemon }),
        qemuArguments: [...(options.qemu?.args ?? []), ...guest],
      }),
    );
    return new TestNode(path, await openGuestNode(path));
  }

  /** Makes the volumes and the configuration of a guest. */
  async addVm(number: number, { disks, settings = {} }: TestVmOptions): Promise<GuestId> {
    const id = parseGuestId(number);
    this.#ids.add(id);
    const storage = await this.node.storages.get('local');
    const lines = [];
    for (const [key, { format, sizeMiB, options = '' }] of Object.entries(disks)) {
      const volume = await storage.allocate({ vmid: id, sizeBytes: sizeMiB * 2 ** 20, format });
      lines.push(`${key}: ${volume.id},size=${sizeMiB}M${options}`);
    }
    const own = {
      agent: '1',
      cores: '1',
      memory: '192',
      scsihw: 'virtio-scsi-pci',
      vga: 'none',
      balloon: '0',
      kvm: '0',
    };
    for (const [key, value] of Object.entries({ ...own, ...settings })) lines.push(`${key}: ${value}`);
    await this.node.configs.create(id, parseVmConfig(`${lines.join('\n')}\n`, 'test'));
    return id;
  }

  /** A guest that something else makes is ended with the node too. */
  expectVm(number: number): GuestId {
    const id = parseGuestId(number);
    this.#ids.add(id);
    return id;
  }

  /** The guest's ear; it answers once the guest is up. */
  async port(): Promise<GuestPort> {
    const port = await GuestPort.connect(join(this.path, 'test.sock'));
    await port.ask('ping', BOOT_TIMEOUT_MS);
    return port;
  }

  /** The disk's bytes as they are now, as a raw file in the node's directory; only of a guest that does not write. */
  async rawCopy(id: GuestId, key: string): Promise<string> {
    const { config } = await this.node.configs.read(id);
    const volume = (config.values.get(key) as string).split(',')[0] as string;
    const { path, format } = await this.node.storages.volume(volume);
    await mkdir(join(this.path, 'copies'), { recursive: true });
    const copy = join(this.path, 'copies', `${id}-${key}.raw`);
    await run('qemu-img', ['convert', '-U', '-f', format, '-O', 'raw', path, copy]);
    return copy;
  }

  /** Kills what runs, and removes everything. */
  async remove(): Promise<void> {
    const ids = new Set([...this.#ids, ...(await this.node.configs.list())]);
    for (const id of ids) await endQemu(this.node.directory.run(id), undefined, 2_000);
    await rm(this.path, { recursive: true, force: true });
    removeNodeTraces(this.node.directory);
  }
}

async function testGuest(directory: string, words: string): Promise<string[]> {
  const guest = await prepareTestGuest();
  const chardev = `socket,id=hftest,path=${join(directory, 'test.sock')},server=on,wait=off`;
  return [
    ...['-kernel', guest.kernel, '-initrd', guest.initrd, '-append', `${guest.append} ${words}`],
    ...['-device', 'virtio-serial-pci,id=hftests,bus=pci.0,addr=0x1d', '-chardev', chardev],
    ...['-device', 'virtserialport,bus=hftests.0,chardev=hftest,name=org.holdfast.test'],
  ];
}

/** Firmware that is done with its first instructions: `cli`, `hlt`, and back to it, at the reset vector. */
async function haltingFirmware(directory: string): Promise<string[]> {
  const path = join(directory, 'halt.bin');
  const image = Buffer.alloc(64 << 10);
  image.set([0xfa, 0xf4, 0xeb, 0xfd], image.length - 16);
  await writeFile(path, image);
  return ['-bios', path];
}
