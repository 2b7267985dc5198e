// What goes wrong during the backup of a real guest that writes all the time. In every case the guest goes on unharmed, nothing of the backup is left, and the
// next backup is right.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { backupVm, type VmBackupRequest } from '../../../src/agent/qemu/backup-vm.ts';
import type { GuestNode } from '../../../src/guests/guest-node.ts';
import type { Storage } from '../../../src/guests/storage/storage.ts';
import { lookAtMachine } from '../../../src/guests/vm/machine-state.ts';
import { resumeVm, suspendVm } from '../../../src/guests/vm/pause.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import { storageDaemons } from '../../support/guests/storage-daemons.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import type { VmBackups } from './vm-backups.ts';
import { WritingGuest } from './writing-guest.ts';

const MIB = 1 << 20;
/** So slow that something can happen while it runs. */
const SLOW = { bytesPerSecond: 4 * MIB };
const skip = await reasonToSkipGuest();

suite('a backup that goes wrong', { skip, timeout: 400_000 }, () => {
  let guest: WritingGuest;
  let vms: VmBackups;
  let id: GuestId;

  before(async () => {
    guest = await WritingGuest.create({ number: 101, sizeMiB: 64, load: { offset: 32 * MIB, length: 8 * MIB } });
    ({ vms, id } = guest);
    await guest.start();
    await write();
  });

  after(async () => await guest?.remove());

  test('the fleece is killed: the backup ends, the guest does not notice', async () => {
    const error = await failing({ ...SLOW, ...onFirstProgress(() => killFleece('SIGKILL')) });
    assert.match(error.message, /fleece's storage daemon has ended/);
    await guest.assertUnharmedAndRight();
  });

  test('the fleece outgrows its limit: said, with what to do', async () => {
    const error = await failing({ ...SLOW, fleeceLimitBytes: 65_536 });
    assert.match(error.message, /more than the 65536 that its fleece may take; give it more with --fleecing-limit/);
    await guest.assertUnharmedAndRight();
  });

  test('the fleece hangs: a write of the guest waits no longer than it may', async () => {
    await guest.port.ask('reset-stats');
    const error = await failing({ ...SLOW, copyTimeoutSeconds: 2, ...onFirstProgress(() => killFleece('SIGSTOP')) });
    assert.match(
      error.message,
      /the fleece could not take what the guest overwrote|the NBD server or its storage hangs/,
    );
    const { maxMs } = await guest.port.ask('stats');
    assert.ok(maxMs < 30_000, `the longest write took ${maxMs} ms`);
    await guest.assertUnharmedAndRight();
  });

  test('two backups of one guest: the second is refused, the first goes on', async () => {
    let second: Promise<unknown> | undefined;
    const first = await vms.backup(id, {
      ...SLOW,
      ...onFirstProgress(() => {
        second = vms.backup(id, { waitMs: 0 });
        second.catch(() => undefined);
      }),
    });
    await assert.rejects(second as Promise<unknown>, { code: 'guest-locked' });
    assert.ok(first.committed.name.time > 0);
    await guest.assertUnharmedAndRight();
  });

  test('stopping a guest that is backed up is refused, as in Proxmox', async () => {
    let refused: Promise<unknown> | undefined;
    await vms.backup(id, {
      ...SLOW,
      ...onFirstProgress(() => {
        refused = stopVm(vms.node.node, id, {}, new KeptReport());
        refused.catch(() => undefined);
      }),
    });
    await assert.rejects(refused as Promise<unknown>, { code: 'guest-locked', message: /VM is locked \(backup\)/ });
    await guest.assertUnharmedAndRight();
  });

  test('Ctrl-C ends it', async () => {
    const controller = new AbortController();
    const reason = new Error('stopped by the test');
    const error = await failing({
      ...SLOW,
      signal: controller.signal,
      ...onFirstProgress(() => controller.abort(reason)),
    });
    assert.ok(error === reason || (error as { code?: string }).code === 'aborted', String(error));
    await guest.assertUnharmedAndRight();
  });

  test('a freeze that never returns is given up, and what hangs is thawed', async () => {
    await guest.port.ask('set freeze fail');
    const { report } = await vms.backup(id);
    assert.match(report.warnings.join('\n'), /the file systems are not frozen: /);
    await guest.port.ask('set freeze no');
    await guest.assertUnharmedAndRight();
  });

  test('the guest reboots in the middle: the backup is of before', async () => {
    const result = await vms.backup(id, {
      ...SLOW,
      ...onFirstProgress(() => void guest.port.ask('reboot').catch(() => {})),
    });
    await guest.connect();
    await guest.assertOneInstant(result);
    await write();
    await guest.assertUnharmedAndRight();
  });

  test('the guest powers itself off in the middle: the backup ends well, and the bitmaps are kept', async () => {
    const result = await vms.backup(id, {
      ...SLOW,
      ...onFirstProgress(() => void guest.port.ask('poweroff').catch(() => {})),
    });
    await guest.assertOneInstant(result);
    for (let tries = 0; (await lookAtMachine(vms.node.node, id)).status === 'running'; tries++) {
      assert.ok(tries < 100);
      await sleep(100);
    }
    await guest.start();
    await write();
    const next = await vms.backup(id);
    assert.match(next.report.logs.join('\n'), /scsi0: incremental[\s\S]*scsi1: incremental/);
    await guest.assertUnharmedAndRight();
  });

  test('QEMU is killed in the middle: the backup fails, and the guest can be started again', async () => {
    const { pid } = await lookAtMachine(vms.node.node, id);
    const error = await failing({ ...SLOW, ...onFirstProgress(() => void process.kill(pid as number, 'SIGKILL')) });
    assert.match(error.message, new RegExp(`^VM ${id}: scsi[01]: `));
    assert.equal((await lookAtMachine(vms.node.node, id)).status, 'stopped');
    await guest.start();
    await write();
    const result = await vms.backup(id);
    assert.match(result.report.logs.join('\n'), /scsi0: read in full, for its bitmap is gone/);
    await guest.assertOneInstant(result);
    await guest.assertUnharmedAndRight();
  });

  test('mode suspend pauses for the instant, mode stop shuts down for it; both let the guest run again', async () => {
    const suspended = await vms.backup(id, { mode: 'suspend' });
    await guest.assertOneInstant(suspended);
    await guest.assertUnharmedAndRight();
    const stopped = await vms.backup(id, { mode: 'stop' });
    await guest.connect();
    await guest.assertOneInstant(stopped);
    assert.match(stopped.report.logs.join('\n'), /scsi0: incremental[\s\S]*scsi1: incremental/);
    await write();
    await guest.assertUnharmedAndRight();
  });

  test('mode suspend leaves a guest paused that its administrator paused', async () => {
    await suspendVm(vms.node.node, id, {});
    await vms.backup(id, { mode: 'suspend' });
    assert.equal((await lookAtMachine(vms.node.node, id)).status, 'paused');
    await resumeVm(vms.node.node, id, {});
    await guest.assertUnharmedAndRight();
  });

  for (const mode of ['suspend', 'stop'] as const)
    test(`mode ${mode}, and something fails before the instant: the guest runs`, async () => {
      const { pid } = await lookAtMachine(vms.node.node, id);
      const request = vms.request(id, { mode });
      const unreachable = new Error('there is no datastore');
      const open = async (): Promise<never> => await Promise.reject(unreachable);
      await assert.rejects(backupVm(request, vms.store.pool, open), unreachable);
      const now = await lookAtMachine(vms.node.node, id);
      assert.deepEqual(now, { pid, status: 'running' }, 'and nothing was done to it');
      await assert.rejects(vms.backup(id, { mode, fleeceStorage: 'nowhere' }), { code: 'not-found' });
      assert.equal((await lookAtMachine(vms.node.node, id)).status, 'running');
      if (mode === 'stop') {
        await guest.connect();
        await write();
      }
      await guest.assertUnharmedAndRight();
    });

  test('the fleece has no daemon: what was made for it meanwhile goes', async () => {
    const { node } = vms.node;
    const qemu = { ...node.qemu, storageDaemon: '/nowhere/qemu-storage-daemon' };
    let answered = 0;
    const get = async (name: string): Promise<Storage> => {
      // Until long after the daemon has failed.
      await sleep(500);
      answered++;
      return await node.storages.get(name);
    };
    const slow: GuestNode = { ...node, qemu, storages: Object.assign(Object.create(node.storages), { get }) };
    await assert.rejects(vms.backup(id, { node: slow }), { code: 'tool-missing' });
    assert.ok(answered > 0, 'nothing is made after the backup has failed');
    await vms.assertTidy(id, guest.keys);
    await guest.assertUnharmedAndRight();
  });

  /** The fill makes a full backup last, and the load gives the fleece something to keep. */
  async function write(): Promise<void> {
    await guest.port.ask(`write ${guest.nameOf('scsi0')} ${16 * MIB} ${8 * MIB} 3`);
    await guest.write();
  }

  async function failing(more: Partial<VmBackupRequest>): Promise<Error> {
    // Everything is read, so that there is time.
    const whole = { ...more, target: '00000000' };
    return await vms.backup(id, whole).then(
      () => assert.fail('the backup succeeded'),
      (error: Error) => error,
    );
  }

  function onFirstProgress(act: () => void): Pick<VmBackupRequest, 'backup'> {
    let isDone = false;
    return {
      backup: {
        ...vms.parts(id),
        onProgress: (name) => {
          if (isDone || !name.endsWith('.img')) return;
          isDone = true;
          act();
        },
      },
    };
  }

  function killFleece(signal: NodeJS.Signals): void {
    for (const pid of storageDaemons(vms.node.node.directory.run(id).path)) process.kill(pid, signal);
  }
});
