// A real guest, a real datastore, and backups of the one into the other: what the tests of VM backups have in common.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import type { BackupResult } from '../../../src/agent/backup/run-backup.ts';
import { backupVm, type VmBackupRequest } from '../../../src/agent/qemu/backup-vm.ts';
import { runRestore } from '../../../src/agent/restore/run-restore.ts';
import { targetOf } from '../../../src/guests/bitmaps/bitmap-names.ts';
import { listBitmaps } from '../../../src/guests/bitmaps/qemu-bitmaps.ts';
import { parseVmConfig, type VmConfig } from '../../../src/guests/config/vm-config.ts';
import { queryBlockExports, queryBlockNodes } from '../../../src/guests/qmp/qmp-types.ts';
import { withMonitor } from '../../../src/guests/vm/machine-state.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import { parseGroup, parseNamespace } from '../../../src/schema/names.ts';
import { KeptReport, type NodeQemu, TestNode, type TestVmOptions } from '../../support/guests/vm-node.ts';
import { createTemporaryStore, NO_SIGNAL, OpenStore } from '../../support/store.ts';

const PLAIN_MACHINE = 'cores: 1\nmemory: 128\nvga: none\nballoon: 0\nkvm: 0\nscsihw: virtio-scsi-pci\n';

export class VmBackups {
  readonly node: TestNode;
  readonly root: string;
  store: OpenStore;
  readonly #remove: () => Promise<void>;

  private constructor(node: TestNode, root: string, store: OpenStore, remove: () => Promise<void>) {
    this.node = node;
    this.root = root;
    this.store = store;
    this.#remove = remove;
  }

  static async create(options: { words?: string; qemu?: NodeQemu } = {}): Promise<VmBackups> {
    const node = await TestNode.create(options);
    const { root, remove } = await createTemporaryStore();
    return new VmBackups(node, root, await OpenStore.open(root), remove);
  }

  async addVm(number: number, options: TestVmOptions): Promise<GuestId> {
    return await this.node.addVm(number, options);
  }

  /** A small guest with these lines of disks, whose volumes the test makes: in `imagesOf`. */
  async addPlainVm(number: number, disks: readonly string[]): Promise<GuestId> {
    const id = this.node.expectVm(number);
    mkdirSync(this.imagesOf(number), { recursive: true });
    await this.node.node.configs.create(id, this.plainConfig(disks));
    return id;
  }

  plainConfig(disks: readonly string[]): VmConfig {
    return parseVmConfig(`${PLAIN_MACHINE}${disks.join('\n')}\n`, 'test');
  }

  /** Where volumes of a guest lie on `local`. */
  imagesOf(number: number): string {
    return join(this.node.path, 'storage/local/images', String(number));
  }

  /** Into the store; `more` overrides what a plain backup asks for. */
  async backup(
    id: GuestId,
    more: Partial<VmBackupRequest> = {},
    store = this.store,
  ): Promise<BackupResult & { report: KeptReport }> {
    const report = new KeptReport();
    const open = async () => await store.session(`vm/${id}`);
    return { ...(await backupVm(this.request(id, { report, ...more }, store), store.pool, open)), report };
  }

  /** A plain backup, but for `more`. */
  request(id: GuestId, more: Partial<VmBackupRequest> = {}, store = this.store): VmBackupRequest {
    return {
      node: this.node.node,
      id,
      mode: 'snapshot',
      target: targetOf(store.store.config.store, parseNamespace(''), parseGroup(`vm/${id}`)),
      fleeceStorage: undefined,
      fleeceLimitBytes: undefined,
      bytesPerSecond: undefined,
      waitMs: 1000,
      report: new KeptReport(),
      signal: NO_SIGNAL,
      backup: this.parts(id),
      ...more,
    };
  }

  /** What every backup of a guest asks for. */
  parts(id: GuestId): VmBackupRequest['backup'] {
    return {
      group: parseGroup(`vm/${id}`),
      time: undefined,
      key: undefined,
      averageBytes: this.store.store.config.chunk.averageBytes,
      stdin: process.stdin,
      onProgress: () => {},
    };
  }

  /** The image of a disk in a snapshot, as a raw file. */
  async restored(result: BackupResult, key: string, store = this.store): Promise<string> {
    const { manifest, name: snapshot } = result.committed;
    const archive = manifest.client.archives.find(({ name }) => name === `drive-${key}.img`);
    assert.ok(archive !== undefined, `the snapshot has no ${key}`);
    // Two guests may have snapshots of one second.
    const target = join(this.node.path, `restored-${snapshot.group.replace('/', '-')}-${snapshot.time}-${key}.raw`);
    const lost = await runRestore(
      {
        archive,
        space: manifest.server.space,
        target,
        overwrite: true,
        zeroLost: false,
        stdout: process.stdout,
        signal: NO_SIGNAL,
        onProgress: () => {},
      },
      store.pool,
      async (space, id) => await store.pool.call(0, 'store.read', { space, id }),
    );
    assert.deepEqual(lost, []);
    return target;
  }

  /** The text of the configuration in a snapshot. */
  async restoredConfig(result: BackupResult): Promise<string> {
    const { manifest } = result.committed;
    const archive = manifest.client.archives.find(({ name }) => name === 'qemu-server.conf');
    const chunks: Buffer[] = [];
    const stdout = new PassThrough();
    stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    await runRestore(
      {
        archive: archive!,
        space: manifest.server.space,
        target: '-',
        overwrite: false,
        zeroLost: false,
        stdout,
        signal: NO_SIGNAL,
        onProgress: () => {},
      },
      this.store.pool,
      async (space, id) => await this.store.pool.call(0, 'store.read', { space, id }),
    );
    return Buffer.concat(chunks).toString();
  }

  /** Nothing of a backup is in the guest or on the node; each disk has one bitmap, recording. */
  async assertTidy(id: GuestId, disks: readonly string[]): Promise<void> {
    await withMonitor(this.node.node, id, async (monitor) => {
      const nodes = (await queryBlockNodes(monitor)).map((node) => node.nodeName);
      assert.deepEqual(
        nodes.filter((name) => !/^([fdt]-[a-z]+\d+|firmware|#block\d+)$/.test(name)),
        [],
        'no node of a backup is left',
      );
      assert.deepEqual(await queryBlockExports(monitor), []);
      const bitmaps = await listBitmaps(monitor);
      assert.deepEqual(bitmaps.map((bitmap) => [bitmap.key, bitmap.isRecording, bitmap.isInconsistent]).sort(), [
        ...disks.map((key) => [key, true, false]),
      ]);
    });
    const storage = await this.node.node.storages.get('local');
    const volumes = (await storage.list({ vmid: id })).map((volume) => volume.name);
    assert.deepEqual(
      volumes.filter((name) => name.includes('fleece')),
      [],
      'no fleece is left',
    );
    assert.equal((await this.node.node.configs.read(id)).config.values.get('lock'), undefined);
  }

  async remove(): Promise<void> {
    await this.node.remove();
    await this.store.close();
    await this.#remove();
  }
}
