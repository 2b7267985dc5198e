// Guests with UEFI firmware and a TPM: QEMU runs them, what firmware and TPM store is in their volumes and in their backups.
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseDrive, printDrive } from '../../../src/guests/config/drive.ts';
import { withSettings } from '../../../src/guests/config/vm-config.ts';
import { findTpm, TPM_STATE_BYTES } from '../../../src/guests/qemu/tpm.ts';
import { queryBlockNodes } from '../../../src/guests/qmp/qmp-types.ts';
import { withMonitor } from '../../../src/guests/vm/machine-state.ts';
import { NewVolumes } from '../../../src/guests/vm/new-volumes.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import { run } from '../../../src/util/run.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { reasonForTools } from '../../support/power-cut/scratch.ts';
import { VmBackups } from './vm-backups.ts';

const VARIABLES_BYTES = 540_672;
const TEMPLATE = '/usr/share/OVMF/OVMF_VARS_4M.fd';
const skip = (await reasonToSkipGuest()) || reasonForTools('swtpm', 'swtpm_setup') || (!isThere(TEMPLATE) && 'no ovmf');

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

suite('backups of a guest with UEFI and a TPM', { skip, timeout: 300_000 }, () => {
  let vms: VmBackups;
  let id: GuestId;

  before(async () => {
    vms = await VmBackups.create();
    id = await vms.addVm(103, {
      disks: { scsi0: { format: 'qcow2', sizeMiB: 64 } },
      settings: { bios: 'ovmf', agent: '0' },
    });
    await give('efidisk0', 'local:1,efitype=4m,format=raw');
    await give('tpmstate0', 'local:1,version=v2.0');
  });

  after(async () => {
    await vms?.remove();
  });

  /** Makes the volume that the drive asks for, and writes it into the configuration. */
  async function give(key: string, value: string): Promise<void> {
    const { node } = vms.node;
    const made = await new NewVolumes(node, id, new KeptReport()).provide(parseDrive(key, value));
    const { config } = await node.configs.read(id);
    await node.configs.write(id, withSettings(config, { [key]: printDrive(made) }));
  }

  async function pathOf(key: string): Promise<string> {
    const { config } = await vms.node.node.configs.read(id);
    return (await vms.node.node.storages.volume((config.values.get(key) as string).split(',')[0] as string)).path;
  }

  const start = async () => await startVm(vms.node.node, id, {}, new KeptReport());
  const stop = async () => await stopVm(vms.node.node, id, {}, new KeptReport());
  const tpm = async () => await findTpm(vms.node.node.directory.run(id));

  test('new variables are those of the package, and the state of the TPM is a raw volume', async () => {
    assert.deepEqual(readFileSync(await pathOf('efidisk0')), readFileSync(TEMPLATE));
    assert.equal(statSync(await pathOf('tpmstate0')).size, TPM_STATE_BYTES);
    assert.match(await pathOf('tpmstate0'), /\.raw$/);
  });

  test('QEMU runs it, its firmware stores variables through the throttle node, its TPM has keys', async () => {
    // As on a storage that gives no less than a MiB: the firmware must see what it was built for.
    await run('truncate', ['-s', '1M', await pathOf('efidisk0')]);
    await start();
    const template = readFileSync(TEMPLATE);
    for (const end = Date.now() + 60_000; ; await sleep(50)) {
      if (
        !readFileSync(await pathOf('efidisk0'))
          .subarray(0, VARIABLES_BYTES)
          .equals(template)
      )
        break;
      assert.ok(Date.now() < end, 'the firmware stores variables');
    }
    const size = await withMonitor(vms.node.node, id, async (monitor) =>
      (await queryBlockNodes(monitor)).find(({ nodeName }) => nodeName === 'd-efidisk0'),
    );
    assert.equal(size?.virtualSizeBytes, VARIABLES_BYTES);
    assert.equal(
      readFileSync(await pathOf('tpmstate0'))
        .subarray(0, 8)
        .toString(),
      'nilmptws',
    );
    assert.ok((await tpm()) !== undefined, 'swtpm runs');
  });

  test('a backup of the running guest has both, as Proxmox names them; the next is incremental', async () => {
    const result = await vms.backup(id);
    const names = result.committed.manifest.client.archives.map(({ name }) => name).sort();
    assert.deepEqual(names, [
      'drive-efidisk0.img',
      'drive-scsi0.img',
      'drive-tpmstate0-backup.img',
      'qemu-server.conf',
    ]);
    assert.match(await vms.restoredConfig(result), /^#qmdump#map:tpmstate0:drive-tpmstate0-backup:local:raw:$/m);
    assert.equal(statSync(await vms.restored(result, 'efidisk0')).size, VARIABLES_BYTES);
    const state = readFileSync(await vms.restored(result, 'tpmstate0-backup'));
    const volume = readFileSync(await pathOf('tpmstate0'));
    assert.equal(state.length, TPM_STATE_BYTES);
    assert.deepEqual(state.subarray(0, volume.length), volume);
    assert.ok(state.subarray(volume.length).every((byte) => byte === 0));
    await vms.assertTidy(id, ['efidisk0', 'scsi0']);
    assert.match((await vms.backup(id)).report.logs.join('\n'), /efidisk0: incremental/);
  });

  test('the TPM ends with QEMU, also with one that is killed; its state stays as it was', async () => {
    const process1 = await tpm();
    await stop();
    assert.equal(await tpm(), undefined);
    const state = readFileSync(await pathOf('tpmstate0'));
    await start();
    assert.notEqual(await tpm(), process1);
    const { pidFile } = vms.node.node.directory.run(id);
    process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
    for (let polls = 0; (await tpm()) !== undefined; polls++) {
      assert.ok(polls < 500, 'swtpm goes when QEMU is gone');
      await sleep(10);
    }
    assert.equal(readFileSync(await pathOf('tpmstate0')).length, state.length);
  });

  test('a stopped guest is backed up with both, and what is restored starts', async () => {
    const result = await vms.backup(id);
    const efi = readFileSync(await vms.restored(result, 'efidisk0'));
    assert.deepEqual(efi, readFileSync(await pathOf('efidisk0')).subarray(0, VARIABLES_BYTES));
    const state = await vms.restored(result, 'tpmstate0-backup');
    await run('cp', [state, await pathOf('tpmstate0')]);
    await start();
    assert.ok((await tpm()) !== undefined);
    await stop();
  });

  test('a start that fails leaves no TPM behind', async () => {
    const { node } = vms.node;
    const { config } = await node.configs.read(id);
    await node.configs.write(id, withSettings(config, { vmgenid: 'none' }));
    await assert.rejects(start(), { code: 'guest-failed' });
    assert.equal(await tpm(), undefined);
    await node.configs.write(id, config);
  });

  test('a TPM 1.2, and keys of Microsoft in qcow2 variables', async () => {
    await give('efidisk0', 'local:1,efitype=4m,pre-enrolled-keys=1');
    await give('tpmstate0', 'local:1,version=v1.2');
    await start();
    assert.ok((await tpm()) !== undefined);
    const result = await vms.backup(id);
    const efi = readFileSync(await vms.restored(result, 'efidisk0'));
    assert.equal(efi.length, VARIABLES_BYTES);
    await stop();
  });
});
