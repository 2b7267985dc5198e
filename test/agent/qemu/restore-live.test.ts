// Live restores that need no booted guest: what is left when they end, well or not.
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { readLiveRestore, writeLiveRestore } from '../../../src/agent/qemu/restore-journal.ts';
import { type LiveRestoreRequest, liveRestoreVm, resumeLiveRestore } from '../../../src/agent/qemu/restore-live.ts';
import type { VmSnapshot } from '../../../src/agent/qemu/restore-source.ts';
import { restoreVm } from '../../../src/agent/qemu/restore-vm.ts';
import { lockGuest } from '../../../src/guests/guest-lock.ts';
import { endQemu, findQemu } from '../../../src/guests/qemu/qemu-process.ts';
import { queryBlockJobs, queryBlockNodes } from '../../../src/guests/qmp/qmp-types.ts';
import { lookAtMachine, withMonitor } from '../../../src/guests/vm/machine-state.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import { type GuestId, parseGuestId } from '../../../src/schema/guest-names.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { withSmallStorage } from '../../support/guests/small-storage.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport, TestNode } from '../../support/guests/vm-node.ts';
import { plainRestore, refusal, settingsOf, usedBytes, volumesOf } from '../../support/guests/vm-restores.ts';
import { backUp, fillDisk, requireSame, snapshotOf } from '../../support/guests/vm-snapshots.ts';
import { skipSmallDisk } from '../../support/small-disk.ts';
import { createTemporaryStore, OpenStore } from '../../support/store.ts';

const skip = await reasonToSkipGuest();
const KEYS = ['scsi0', 'scsi1'];

suite('the live restore of a virtual machine', { skip, timeout: 120_000 }, () => {
  let node: TestNode;
  let temporary: Awaited<ReturnType<typeof createTemporaryStore>>;
  let open: OpenStore;
  let snapshot: VmSnapshot;

  before(async () => {
    node = await TestNode.create({ halted: true });
    temporary = await createTemporaryStore();
    open = await OpenStore.open(temporary.root);
    const id = await node.addVm(7201, {
      disks: { scsi0: { format: 'qcow2', sizeMiB: 64 }, scsi1: { format: 'raw', sizeMiB: 64 } },
      settings: { agent: '0' },
    });
    await fillDisk(node, id, 'scsi0', [0, 5, 40, 63]);
    await fillDisk(node, id, 'scsi1', [1, 30, 31]);
    snapshot = snapshotOf(open, (await backUp(node, open, id)).committed.manifest);
  });

  after(async () => {
    await node?.remove();
    await open?.close();
    await temporary?.remove();
  });

  test('in place of a guest: it runs, and when all is copied nothing is left but the guest, whose next backup is right', async () => {
    const id = node.expectVm(7202);
    await restoreVm({ ...request(id), force: false });
    const old = await volumesOf(node, id);
    let whileRunning: string[] = [];
    const look = async (): Promise<void> => {
      whileRunning = [...(await volumesOf(node, id)), (await settingsOf(node, id)).get('lock') ?? ''];
    };
    let looked: Promise<void> | undefined;
    const onRunning = (): void => {
      looked = look();
    };
    await liveRestoreVm({ ...request(id), force: true, onRunning });
    await looked;
    assert.deepEqual(
      old.filter((volume) => !whileRunning.includes(volume)),
      [],
      'the old volumes stay until the new ones are whole',
    );
    assert.equal(whileRunning.at(-1), 'create');
    assert.equal((await lookAtMachine(node.node, id)).status, 'running');
    await requireClean(id);
    const values = await settingsOf(node, id);
    assert.equal(values.get('scsi0'), 'local:7202/vm-7202-disk-2.qcow2,size=64M');
    assert.equal(values.get('scsi1'), 'local:7202/vm-7202-disk-3.raw,size=64M');
    assert.deepEqual(await volumesOf(node, id), ['disk-2.qcow2', 'disk-3.raw']);
    for (const key of KEYS) assert.ok((await usedBytes(node, id, key)) < 8 << 20, `${key} has lost its holes`);
    const report = new KeptReport();
    const next = snapshotOf(open, (await backUp(node, open, id, { report })).committed.manifest);
    await stopVm(node.node, id, {}, report);
    for (const key of KEYS) {
      await requireSame(node, id, key, snapshot);
      await requireSame(node, id, key, next);
    }
  });

  test('stopped in the middle, or read from a damaged backup: the guest is gone, and one that was there is there again', async () => {
    const id = node.expectVm(7203);
    const abort = new AbortController();
    const onRunning = (): void => abort.abort(new HoldfastError('aborted', 'stopped'));
    await refusal(
      liveRestoreVm({ ...request(id), bytesPerSecond: 1 << 20, signal: abort.signal, onRunning }),
      'aborted',
    );
    await requireNothing(id);
    const archives = snapshot.archives.map((each) =>
      each.name === 'drive-scsi1.img' ? { ...each, root: '77'.repeat(32) } : each,
    );
    const report = new KeptReport();
    await refusal(liveRestoreVm({ ...request(id), report, snapshot: { ...snapshot, archives } }), 'object-missing');
    await requireNothing(id);
    assert.match(report.warnings.join('\n'), /what was restored is removed/);
    const there = parseGuestId(7201);
    const [text, volumes] = [(await node.node.configs.read(there)).text, await volumesOf(node, there)];
    const [second, third] = [new AbortController(), new KeptReport()];
    const stop = (): void => second.abort(new HoldfastError('aborted', 'stopped'));
    await refusal(
      liveRestoreVm({ ...request(there), force: true, report: third, signal: second.signal, onRunning: stop }),
      'aborted',
    );
    assert.equal((await node.node.configs.read(there)).text, text, third.warnings.join('\n'));
    assert.deepEqual(await volumesOf(node, there), volumes);
    assert.equal(await findQemu(node.node.directory.run(there)), undefined);
  });

  test('one that has copied all and could not end is ended, also when its guest does not run any more', async () => {
    const id = node.expectVm(7204);
    let lock: Promise<{ release(): void }> | undefined;
    const onRunning = (): void => {
      lock = lockGuest(node.node.directory, id);
    };
    await refusal(liveRestoreVm({ ...request(id), onRunning }), 'guest-locked');
    (await lock)?.release();
    await endQemu(node.node.directory.run(id), undefined, 2_000);
    await resumeLiveRestore(request(id));
    for (const key of KEYS) await requireSame(node, id, key, snapshot);
    assert.deepEqual(await volumesOf(node, id), ['disk-0.qcow2', 'disk-1.raw']);
    assert.equal((await settingsOf(node, id)).get('lock'), undefined);
    assert.equal(await readLiveRestore(node.node.directory, id), undefined);
  });

  test('what goes wrong with a guest that runs lets it run on, and --resume goes on with that backup alone', async () => {
    const id = node.expectVm(7206);
    const message = await runOn(id);
    assert.match(message, /runs on and waits for its disks; go on with: holdfast vm restore --resume 7206/);
    assert.equal((await lookAtMachine(node.node, id)).status, 'running');
    await refusal(
      resumeLiveRestore({ ...request(id), snapshot: { ...snapshot, name: 'vm/7201/other' } }),
      'bad-argument',
    );
    assert.notEqual(await findQemu(node.node.directory.run(id)), undefined);
    await resumeLiveRestore(request(id));
    await requireClean(id);
    await stopVm(node.node, id, {}, new KeptReport());
    for (const key of KEYS) await requireSame(node, id, key, snapshot);
  });

  test('nothing can go on when the guest has ended meanwhile, or never came to run: all is undone', async () => {
    const id = node.expectVm(7207);
    await runOn(id);
    await endQemu(node.node.directory.run(id), undefined, 2_000);
    assert.match(await refusal(resumeLiveRestore(request(id)), 'guest-failed'), /does not run any more; begin anew/);
    await requireNothing(id);
    await runOn(id);
    const state = await readLiveRestore(node.node.directory, id);
    assert.ok(state !== undefined);
    await writeLiveRestore(node.node.directory, id, { ...state, stage: 'starting' });
    await refusal(resumeLiveRestore(request(id)), 'guest-failed');
    await requireNothing(id);
  });

  test('while it streams: both disks share the limit, nobody else is at it, and all that there is of it is named', async () => {
    const id = node.expectVm(7208);
    const abort = new AbortController();
    const look = async (): Promise<void> => {
      const jobs = await withMonitor(node.node, id, async (monitor) => await queryBlockJobs(monitor));
      assert.deepEqual(
        jobs.map((job) => [job.id, job.speedBytesPerSecond]).sort(),
        KEYS.map((key) => [`restore-${key}`, 1 << 19]),
      );
      const settings = await settingsOf(node, id);
      for (const key of KEYS) assert.match(settings.get(key) as string, /rerror=stop.*werror=stop/);
      assert.match(settings.get('unused0') as string, /restore-scsi1/);
      assert.equal((await readLiveRestore(node.node.directory, id))?.stage, 'streaming');
      await refusal(resumeLiveRestore({ ...request(id), waitMs: 0 }), 'guest-locked');
      await refusal(liveRestoreVm({ ...request(id), waitMs: 0 }), 'guest-locked');
    };
    let looked: Promise<void> | undefined;
    const onRunning = (): void => {
      looked = look().finally(() => abort.abort(new HoldfastError('aborted', 'stopped')));
    };
    await refusal(
      liveRestoreVm({ ...request(id), bytesPerSecond: 1 << 20, signal: abort.signal, onRunning }),
      'aborted',
    );
    await looked;
    await requireNothing(id);
  });

  test('its storage runs full: the restore waits for room, and goes on', { skip: skipSmallDisk() }, async () => {
    const id = node.expectVm(7205);
    await withSmallStorage(node, 32 << 20, async (disk) => {
      const report = new KeptReport();
      const { warn } = report;
      report.warn = (line) => {
        warn(line);
        if (line.includes('its storage is full')) disk.release();
      };
      // The volumes are there, and nothing is copied yet.
      const { log } = report;
      report.log = (line) => {
        log(line);
        if (line.includes('stream behind')) disk.fill(1 << 20);
      };
      await liveRestoreVm({ ...request(id), storage: 'small', report });
      assert.match(report.warnings.join('\n'), /scsi\d: its storage is full; it is tried again/);
      assert.equal((await lookAtMachine(node.node, id)).status, 'running');
      await requireClean(id);
      await stopVm(node.node, id, {}, report);
      for (const key of KEYS) await requireSame(node, id, key, snapshot);
    });
  });

  test('there is nothing to go on with where no live restore was cut off, whatever an earlier one left', async () => {
    const id = parseGuestId(7201);
    await refusal(resumeLiveRestore(request(id)), 'not-found');
    const [settings, volumes] = [await settingsOf(node, id), await volumesOf(node, id)];
    const disks = KEYS.map((key) => {
      const volume = (settings.get(key) as string).split(',')[0] as string;
      return { key, archive: `drive-${key}.img`, sizeBytes: 64 << 20, volume, format: 'raw' as const, isWhole: false };
    });
    for (const stage of ['starting', 'streaming', 'whole'] as const) {
      const shared = {
        format: 1 as const,
        snapshot: snapshot.name,
        config: '',
        replaced: disks.map((disk) => disk.volume),
      };
      await writeLiveRestore(node.node.directory, id, { ...shared, stage, disks });
      await refusal(resumeLiveRestore(request(id)), 'not-found');
    }
    assert.deepEqual(await volumesOf(node, id), volumes);
    assert.deepEqual(await settingsOf(node, id), settings);
  });

  function request(id: GuestId): LiveRestoreRequest {
    return { ...plainRestore(node, id, snapshot), onRunning: () => {}, bytesPerSecond: undefined };
  }

  /** Fails while the guest runs and most is not copied. Returns what was warned of. */
  async function runOn(id: GuestId): Promise<string> {
    const report = new KeptReport();
    const onProgress = (): void => {
      throw new HoldfastError('write-failed', 'the terminal is gone');
    };
    await refusal(liveRestoreVm({ ...request(id), report, bytesPerSecond: 32 << 20, onProgress }), 'write-failed');
    return report.warnings.join('\n');
  }

  async function requireClean(id: GuestId): Promise<void> {
    const [nodes, jobs] = await withMonitor(node.node, id, async (monitor) => [
      await queryBlockNodes(monitor),
      await queryBlockJobs(monitor),
    ]);
    const wanted = KEYS.flatMap((key) => [`d-${key}`, `f-${key}`, `t-${key}`]).sort();
    assert.deepEqual(nodes.map(({ nodeName }) => nodeName).sort(), wanted);
    assert.deepEqual(jobs, []);
    assert.equal(await readLiveRestore(node.node.directory, id), undefined);
    assert.equal((await readdir(node.node.directory.run(id).path)).includes('restore-disks'), false);
    assert.equal((await settingsOf(node, id)).get('lock'), undefined);
    assert.equal(
      [...(await settingsOf(node, id)).keys()].some((key) => key.startsWith('unused')),
      false,
    );
  }

  async function requireNothing(id: GuestId): Promise<void> {
    assert.equal((await node.node.configs.list()).includes(id), false);
    assert.deepEqual(await volumesOf(node, id), []);
    assert.equal(await findQemu(node.node.directory.run(id)), undefined);
    assert.equal(await readLiveRestore(node.node.directory, id), undefined);
    assert.equal((await readdir(join(node.node.directory.run(id).path))).includes('restore-disks'), false);
  }
});
