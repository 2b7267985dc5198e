// The datastore fails during the backup of a guest that writes all the time: the guest goes on, the backup says why it failed, nothing of it is left, and the next
// one to a datastore that works is right.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createDatastore } from '../../../src/datastore/config.ts';
import { queryBlockNodes } from '../../../src/guests/qmp/qmp-types.ts';
import { lookAtMachine, withMonitor } from '../../../src/guests/vm/machine-state.ts';
import { ERROR_CODES } from '../../../src/util/errors.ts';
import { type Ran, start } from '../../cli/holdfast.ts';
import { skipWithoutBuild } from '../../support/crash/cli.ts';
import { storageDaemons } from '../../support/guests/storage-daemons.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { type Account, type ServerRig, startRig } from '../../support/server/server-rig.ts';
import { skipSmallDisk, withSmallDisk } from '../../support/small-disk.ts';
import { OpenStore } from '../../support/store.ts';
import { WritingGuest } from './writing-guest.ts';

const MIB = 1 << 20;
/** KiB a second: of what is written between two backups, seconds. */
const SLOW = ['--bwlimit', '2048'];
const skip = skipWithoutBuild() || (await reasonToSkipGuest());

suite('a datastore that fails during the backup of a virtual machine', { skip, timeout: 300_000 }, () => {
  let guest: WritingGuest;

  before(async () => {
    const load = { offset: 32 * MIB, length: 8 * MIB };
    guest = await WritingGuest.create({ number: 105, sizeMiB: 64, load });
    await guest.start();
    await guest.write();
  });

  after(async () => await guest?.remove());

  /** Eight MiB of disk A, others with each seed. */
  async function overwrite(seed: number): Promise<void> {
    await guest.port.ask(`write ${guest.nameOf('scsi0')} ${16 * MIB} ${8 * MIB} ${seed}`);
  }

  suite('a server that is killed', () => {
    const ended: (() => void)[] = [];
    let rig: ServerRig;
    let account: Account;

    before(async () => {
      rig = await startRig({ after: (end) => void ended.unshift(end) });
      account = await rig.newcomer('vmhost', 'DatastorePowerUser');
    });
    after(() => {
      for (const end of ended) end();
    });

    const words = (...more: string[]): string[] => {
      return ['vm', 'backup', String(guest.id), '--node-dir', guest.vms.node.path, ...more];
    };

    async function backup(): Promise<Ran> {
      const ran = await account.try(words());
      assert.equal(ran.code, 0, ran.stderr);
      return ran;
    }

    async function restored(key: string): Promise<string> {
      const path = rig.path(`${key}.raw`);
      await account.run('restore', `vm/${guest.id}/latest`, `drive-${key}.img`, path, '--overwrite');
      return path;
    }

    test('and comes back: the backup goes on in a new session, or says clearly that it cannot', async () => {
      await overwrite(1);
      const { end } = await killedServer();
      await rig.server.start();
      const { code, stderr } = await end;
      if (code === 0) guest.assertOneInstantOf(await restored('scsi0'), await restored('scsi1'));
      else {
        assert.equal(code, ERROR_CODES['session-gone'][1], stderr);
        assert.match(stderr, /run again/);
      }
      await requireNothingLeft();
      await overwrite(2);
      const next = await backup();
      assert.match(next.stderr, code === 0 ? /scsi0: incremental since/ : /scsi0: read in full, for it is the first/);
      guest.assertOneInstantOf(await restored('scsi0'), await restored('scsi1'));
      await requireEveryByte();
    });

    test('and stays away: a backup that somebody ends leaves nothing, and the next goes on from the last good one', async () => {
      await backup();
      await overwrite(3);
      const { child, end } = await killedServer();
      child.kill('SIGINT');
      const { code, stderr } = await end;
      assert.equal(code, ERROR_CODES.aborted[1], stderr);
      await requireNothingLeft();
      await rig.server.start();
      const next = await backup();
      assert.match(next.stderr, /scsi0: incremental since[\s\S]*scsi1: incremental since/);
      guest.assertOneInstantOf(await restored('scsi0'), await restored('scsi1'));
      await requireEveryByte();
    });

    /** A backup under way, whose server was killed while it read; the guest has gone on since. */
    async function killedServer(): Promise<{ child: ChildProcess; end: Promise<Ran> }> {
      const { child, ended: end } = start(words(...SLOW), { env: account.env });
      child.stdin?.end();
      for (const deadline = performance.now() + 30_000; !(await backupNodes()).includes('snap-scsi1'); await sleep(20))
        assert.ok(performance.now() < deadline, 'the backup does not begin to read');
      await sleep(500);
      await rig.server.end('SIGKILL');
      await guest.assertGoesOn();
      assert.equal(child.exitCode, null, 'it waits for the server');
      return { child, end };
    }

    async function requireNothingLeft(): Promise<void> {
      await guest.assertGoesOn();
      assert.deepEqual(await backupNodes(), [], 'the filters are out of QEMU');
      assert.deepEqual(storageDaemons(guest.vms.node.node.directory.run(guest.id).path), []);
    }

    /** As `assertEveryByte`, of what the server has. */
    async function requireEveryByte(): Promise<void> {
      const { node } = guest.vms.node;
      await withMonitor(node, guest.id, async (monitor) => await monitor.execute('stop'));
      await backup();
      for (const key of guest.keys)
        assert.ok(
          readFileSync(await guest.vms.node.rawCopy(guest.id, key)).equals(readFileSync(await restored(key))),
          key,
        );
      assert.equal((await lookAtMachine(node, guest.id)).status, 'paused');
      await withMonitor(node, guest.id, async (monitor) => await monitor.execute('cont'));
    }

    async function backupNodes(): Promise<string[]> {
      const { node } = guest.vms.node;
      const nodes = await withMonitor(node, guest.id, async (monitor) => await queryBlockNodes(monitor));
      return nodes.map(({ nodeName }) => nodeName).filter((name) => /^(fl|cbw|snap|lim)-/.test(name));
    }
  });

  test('a datastore without room: the next backup goes on from the last good one', {
    skip: skipSmallDisk(),
  }, async () => {
    await withSmallDisk(160 * MIB, async (disk) => {
      const root = join(disk.mountPath, 'store');
      await createDatastore(root, 65_536);
      let store = await OpenStore.open(root);
      try {
        await guest.vms.backup(guest.id, {}, store);
        await overwrite(4);
        const report = new KeptReport();
        const { log } = report;
        report.log = (line) => {
          log(line);
          // The disks are open by then, and not read yet.
          if (line.includes('incremental')) disk.fill();
        };
        await assert.rejects(guest.vms.backup(guest.id, { report }, store), { code: 'disk-full' });
        assert.match(report.logs.join('\n'), /scsi0: incremental/);
        await guest.assertGoesOn();
        disk.release();
        await store.close();
        store = await OpenStore.open(root);
        const next = await guest.vms.backup(guest.id, {}, store);
        assert.match(next.report.logs.join('\n'), /scsi0: incremental[\s\S]*scsi1: incremental/);
        await guest.assertOneInstant(next, store);
      } finally {
        await store.close();
      }
    });
    // To another, too.
    const other = await guest.vms.backup(guest.id);
    await guest.assertOneInstant(other);
    await guest.assertEveryByte();
  });
});
