// Guests in set-ups that are rare and right: without a disk to back up, with a disc that is gone, with disks of old forms and odd sizes. Each is backed up as any
// other, running and stopped, and what is restored is what was there.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { parseVmConfig } from '../../../src/guests/config/vm-config.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { VmBackups } from './vm-backups.ts';

const skip = await reasonToSkipGuest();
const MACHINE = 'cores: 1\nmemory: 128\nvga: none\nballoon: 0\nkvm: 0\nscsihw: virtio-scsi-pci\n';

suite('backups of guests in rare set-ups', { skip, timeout: 120_000 }, () => {
  let vms: VmBackups;

  before(async () => {
    vms = await VmBackups.create();
  });

  after(async () => {
    await vms?.remove();
  });

  async function addGuest(number: number, lines: string): Promise<GuestId> {
    const id = vms.node.expectVm(number);
    mkdirSync(imagesOf(number), { recursive: true });
    await vms.node.node.configs.create(id, parseVmConfig(`${MACHINE}${lines}\n`, 'test'));
    return id;
  }

  const imagesOf = (number: number) => join(vms.node.path, 'storage/local/images', String(number));
  const start = async (id: GuestId) => await startVm(vms.node.node, id, {}, new KeptReport());
  const stop = async (id: GuestId) => await stopVm(vms.node.node, id, {}, new KeptReport());
  const archives = ({ committed }: Awaited<ReturnType<VmBackups['backup']>>) =>
    committed.manifest.client.archives.map(({ name }) => name).sort();

  test('a running guest of which no disk is backed up goes on, and its configuration is stored', async () => {
    const id = await addGuest(7301, 'scsi0: local:7301/vm-7301-disk-0.raw,backup=0');
    writeFileSync(join(imagesOf(7301), 'vm-7301-disk-0.raw'), randomBytes(1 << 20));
    await start(id);
    const { pidFile } = vms.node.node.directory.run(id);
    const pid = Number(readFileSync(pidFile, 'utf8'));
    for (let count = 0; count < 2; count++) assert.deepEqual(archives(await vms.backup(id)), ['qemu-server.conf']);
    assert.ok(process.kill(pid, 0), 'QEMU goes on');
    await vms.assertTidy(id, []);
    await stop(id);
  });

  test('what is not backed up need not be there: a disc, the storage of one, a disk with backup=0', async () => {
    const lines = [
      'scsi0: local:7302/vm-7302-disk-0.raw',
      'scsi1: nowhere:7302/vm-7302-disk-1.raw,backup=0',
      'ide0: local:iso/gone.iso,media=cdrom',
      'ide1: nowhere:iso/gone.iso,media=cdrom',
      'ide2: cdrom,media=cdrom',
    ];
    const id = await addGuest(7302, lines.join('\n'));
    const disk = randomBytes(1 << 20);
    writeFileSync(join(imagesOf(7302), 'vm-7302-disk-0.raw'), disk);
    const result = await vms.backup(id);
    assert.deepEqual(readFileSync(await vms.restored(result, 'scsi0')), disk);
  });
});
