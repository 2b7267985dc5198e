// What goes wrong during the backup of a real guest that writes all the time. In every case the guest goes on unharmed, nothing of the backup is left, and the
// next backup is right.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { VmBackupRequest } from '../../../src/agent/qemu/backup-vm.ts';
import { lookAtMachine, withMonitor } from '../../../src/guests/vm/machine-state.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import type { GuestPort } from '../../support/guests/guest-port.ts';
import { readCounter, surveyBlocks } from '../../support/guests/test-blocks.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { VmBackups } from './vm-backups.ts';

const MIB = 1 << 20;
const KEYS = ['scsi0', 'scsi1'];
/** So slow that something can happen while it runs. */
const SLOW = { bytesPerSecond: 4 * MIB };
const skip = await reasonToSkipGuest();

suite('a backup that goes wrong', { skip, timeout: 400_000 }, () => {
  let vms: VmBackups;
  let id: GuestId;
  let port: GuestPort;

  before(async () => {
    vms = await VmBackups.create();
    id = await vms.addVm(101, {
      disks: {
        scsi0: { format: 'qcow2', sizeMiB: 64, options: ',serial=scsi0' },
        scsi1: { format: 'raw', sizeMiB: 64, options: ',serial=scsi1' },
      },
    });
    await start();
    // The fill makes a full backup last, and the load gives the fleece something to keep.
    await write();
  });

  after(async () => {
    port?.close();
    await vms?.remove();
  });

  test('the fleece is killed: the backup ends, the guest does not notice', async () => {
    const error = await failing({ ...SLOW, ...onFirstProgress(() => killFleece('SIGKILL')) });
    assert.match(error.message, /fleece's storage daemon has ended/);
    await assertUnharmedAndRight();
  });

  test('the fleece outgrows its limit: said, with what to do', async () => {
    const error = await failing({ ...SLOW, fleeceLimitBytes: 65_536 });
    assert.match(error.message, /more than the 65536 that its fleece may take; give it more with --fleecing-limit/);
    await assertUnharmedAndRight();
  });

  test('the fleece hangs: a write of the guest waits no longer than it may', async () => {
    await port.ask('reset-stats');
    const error = await failing({ ...SLOW, copyTimeoutSeconds: 2, ...onFirstProgress(() => killFleece('SIGSTOP')) });
    assert.ok(error instanceof Error);
    const { maxMs } = await port.ask('stats');
    assert.ok(maxMs < 30_000, `the longest write took ${maxMs} ms`);
    await assertUnharmedAndRight();
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
    await assertUnharmedAndRight();
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
    await assertUnharmedAndRight();
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
    await assertUnharmedAndRight();
  });

  test('a freeze that never returns is given up, and what hangs is thawed', async () => {
    await port.ask('set freeze fail');
    const { report } = await vms.backup(id);
    assert.match(report.warnings.join('\n'), /the file systems are not frozen: /);
    await port.ask('set freeze no');
    await assertUnharmedAndRight();
  });

  test('the guest reboots in the middle: the backup is of before', async () => {
    const result = await vms.backup(id, { ...SLOW, ...onFirstProgress(() => void port.ask('reboot').catch(() => {})) });
    port.close();
    port = await vms.node.port();
    await assertOneInstant(result);
    await write();
    await assertUnharmedAndRight();
  });

  test('the guest powers itself off in the middle: the backup ends well, and the bitmaps are kept', async () => {
    const result = await vms.backup(id, {
      ...SLOW,
      ...onFirstProgress(() => void port.ask('poweroff').catch(() => {})),
    });
    await assertOneInstant(result);
    for (let tries = 0; (await lookAtMachine(vms.node.node, id)).status === 'running'; tries++) {
      assert.ok(tries < 100);
      await sleep(100);
    }
    await start();
    await write();
    const next = await vms.backup(id);
    assert.match(next.report.logs.join('\n'), /scsi0: incremental[\s\S]*scsi1: incremental/);
    await assertUnharmedAndRight();
  });

  test('QEMU is killed in the middle: the backup fails, and the guest can be started again', async () => {
    const { pid } = await lookAtMachine(vms.node.node, id);
    await failing({ ...SLOW, ...onFirstProgress(() => void process.kill(pid as number, 'SIGKILL')) });
    assert.equal((await lookAtMachine(vms.node.node, id)).status, 'stopped');
    await start();
    await write();
    const result = await vms.backup(id);
    assert.match(result.report.logs.join('\n'), /scsi0: read in full, for its bitmap is gone/);
    await assertOneInstant(result);
    await assertUnharmedAndRight();
  });

  test('mode suspend pauses for the instant, mode stop shuts down for it; both let the guest run again', async () => {
    const suspended = await vms.backup(id, { mode: 'suspend' });
    await assertOneInstant(suspended);
    await assertUnharmedAndRight();
    const stopped = await vms.backup(id, { mode: 'stop' });
    port.close();
    port = await vms.node.port();
    await assertOneInstant(stopped);
    assert.match(stopped.report.logs.join('\n'), /scsi0: incremental[\s\S]*scsi1: incremental/);
    await write();
    await assertUnharmedAndRight();
  });

  async function start(): Promise<void> {
    port?.close();
    await startVm(vms.node.node, id, {}, new KeptReport());
    port = await vms.node.port();
  }

  /** Lets the guest write to both disks. */
  async function write(): Promise<void> {
    const { disks } = await port.ask('disks');
    const nameOf = (serial: string): string => disks.find((disk: { serial: string }) => disk.serial === serial).name;
    await port.ask(`write ${nameOf('scsi0')} ${16 * MIB} ${8 * MIB} 3`);
    await port.ask(`counter START ${nameOf('scsi0')} ${nameOf('scsi1')}`);
    await port.ask(`load START ${nameOf('scsi0')} ${32 * MIB} ${8 * MIB} 200 5`);
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

  /** The storage daemon of this node's fleece, found by its socket. */
  function killFleece(signal: NodeJS.Signals): void {
    const socket = `${vms.node.node.directory.run(id).path}/fleece.qmp`;
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      let command = '';
      try {
        command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        continue;
      }
      if (command.startsWith('qemu-storage-daemon') && command.includes(socket)) process.kill(Number(pid), signal);
    }
  }

  async function assertOneInstant(result: Awaited<ReturnType<VmBackups['backup']>>): Promise<void> {
    const [diskA, diskB] = [await vms.restored(result, 'scsi0'), await vms.restored(result, 'scsi1')];
    const [onA, onB] = [readCounter(diskA), readCounter(diskB)];
    assert.ok(onA === onB || onA === onB + 1, `${onA} on A, ${onB} on B`);
    const survey = surveyBlocks(diskA, 32 * MIB, 8 * MIB);
    assert.deepEqual([survey.torn, survey.foreign, survey.other], [[], [], []]);
  }

  async function assertUnharmedAndRight(): Promise<void> {
    const before = await port.ask('stats');
    await sleep(300);
    const now = await port.ask('stats');
    assert.ok(now.counterB > before.counterB && now.load.writes > before.load.writes, 'the guest goes on writing');
    assert.deepEqual([now.failed, now.load.failed], [0, 0], 'no write of the guest failed');
    await assertOneInstant(await vms.backup(id));
    await vms.assertTidy(id, KEYS);
    // What the guest has now is what a backup of it has: nothing was lost from the bitmaps.
    await withMonitor(vms.node.node, id, async (monitor) => await monitor.execute('stop'));
    const still = await vms.backup(id);
    for (const key of KEYS)
      assert.ok(
        readFileSync(await vms.node.rawCopy(id, key)).equals(readFileSync(await vms.restored(still, key))),
        key,
      );
    await withMonitor(vms.node.node, id, async (monitor) => await monitor.execute('cont'));
  }
});
