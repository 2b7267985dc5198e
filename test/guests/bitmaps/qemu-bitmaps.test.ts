// Bitmaps in a real QEMU without a machine: what was written is in exactly one of them after every way a backup can end, and sidecars are believed only while
// the disk is what it was.
import assert from 'node:assert/strict';
import { existsSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BITMAP_GRANULARITY } from '../../../src/guests/bitmaps/bitmap-names.ts';
import { type DiskBitmap, listBitmaps, reconcileBitmaps } from '../../../src/guests/bitmaps/qemu-bitmaps.ts';
import {
  loadSidecars,
  sealSidecars,
  storeSidecars,
  type Trust,
  trustedSidecars,
} from '../../../src/guests/bitmaps/sidecars.ts';
import { NodeDirectory } from '../../../src/guests/node-directory.ts';
import { QmpClient } from '../../../src/guests/qmp/qmp-client.ts';
import type { QmpCommands } from '../../../src/guests/qmp/qmp-types.ts';
import { parseGuestId } from '../../../src/schema/guest-names.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { run } from '../../../src/util/run.ts';
import { type QemuBuild, qemuBuilds } from '../../support/guests/qemu-builds.ts';
import { scratch, startMonitor } from '../qmp/qemu-monitor.ts';

const SIZE = 8 << 20;
const [OURS, OTHERS] = ['0a1b2c3d', '99999999'];
const name = (number: number, target = OURS): string => `hf-${target}-${number}`;
const recordOf = (number: number, target = OURS) => ({
  [target as string]: {
    snapshot: 'vm/101/2026-11-20T02:00:00Z',
    disks: { scsi0: { bitmap: name(number, target), root: 'r', volume: 'v', sizeBytes: SIZE } },
  },
});

/** A disk whose second backup is under way: one block written before its instant, and another one after it. */
async function inABackup(t: TestContext, build: QemuBuild): Promise<Disk> {
  const disk = await Disk.open(t, build, 'raw');
  await disk.add(1);
  await disk.write(0);
  await disk.add(2);
  await disk.disable(1);
  await disk.write(1);
  return disk;
}

for (const build of qemuBuilds)
  suite(`bitmaps of ${build.name}`, { skip: build.skip }, () => {
    test('a backup that came to no end: its bitmap is merged into the recorded one, which goes on recording', async (t) => {
      const disk = await inABackup(t, build);
      assert.deepEqual(await reconcileBitmaps(disk.monitor, recordOf(1)), []);
      assert.deepEqual(await disk.bitmaps(), [[name(1), true, 2]]);
      await disk.write(2);
      assert.deepEqual(await disk.bitmaps(), [[name(1), true, 3]]);
    });

    test('one that ended after its record: the new bitmap counts, the old one goes', async (t) => {
      const disk = await inABackup(t, build);
      assert.deepEqual(await reconcileBitmaps(disk.monitor, recordOf(2)), []);
      assert.deepEqual(await disk.bitmaps(), [[name(2), true, 1]]);
    });

    test('several in a row without an end, and one that was never disabled', async (t) => {
      const disk = await Disk.open(t, build, 'raw');
      for (const number of [3, 4, 5]) {
        await disk.add(number);
        await disk.write(number);
      }
      await disk.disable(3);
      assert.deepEqual(await reconcileBitmaps(disk.monitor, recordOf(3)), []);
      assert.deepEqual(await disk.bitmaps(), [[name(3), true, 3]]);
    });

    test('bitmaps without a record go, those of another target and of others stay', async (t) => {
      const disk = await Disk.open(t, build, 'raw');
      await disk.add(1);
      await disk.add(2);
      await disk.add(7, OTHERS);
      await disk.monitor.execute('block-dirty-bitmap-add', { node: 'd-scsi0', name: 'somebody' });
      assert.deepEqual(await reconcileBitmaps(disk.monitor, recordOf(7, OTHERS)), []);
      assert.deepEqual(await disk.bitmaps(), [[name(7, OTHERS), true, 0]]);
    });

    test('a QEMU that was killed: the bitmap is inconsistent, told, and gone', async (t) => {
      const disk = await Disk.open(t, build, 'qcow2');
      await disk.add(1);
      await disk.write(0);
      // Closing the node stores it; only what is open when QEMU is killed is lost.
      await disk.reopenAfterKill(t);
      assert.deepEqual(
        (await listBitmaps(disk.monitor)).map(({ isInconsistent }) => isInconsistent),
        [true],
      );
      assert.deepEqual(await reconcileBitmaps(disk.monitor, recordOf(1)), ['scsi0']);
      assert.deepEqual(await disk.bitmaps(), []);
    });

    test('sidecars bring everything back, and are gone before the guest runs', async (t) => {
      const disk = await inABackup(t, build);
      await disk.powerCycle(t);
      const trusted = await disk.trusted();
      assert.deepEqual([...(trusted.sidecars.get('scsi0') ?? [])].sort(), [name(1), name(2)]);
      await loadSidecars(disk.monitor, disk.node, ID, trusted);
      for (const file of ['sidecars.json', 'bitmaps-scsi0.qcow2'])
        assert.equal(existsSync(join(disk.node.guestPath(ID), file)), false, `${file} is gone`);
      await reconcileBitmaps(disk.monitor, recordOf(1));
      assert.deepEqual(await disk.bitmaps(), [[name(1), true, 2]]);
      await disk.write(2);
      assert.deepEqual(await disk.bitmaps(), [[name(1), true, 3]]);
    });

    test('a start that is killed while it loads them: a bitmap has everything in it, or is not there', async (t) => {
      for (let steps = 0, isLoaded = false; !isLoaded; steps++) {
        const disk = await Disk.open(t, build, 'raw');
        await disk.add(1);
        await disk.write(0);
        await disk.powerCycle(t);
        const load = loadSidecars(killedAfter(disk.monitor, steps), disk.node, ID, await disk.trusted());
        isLoaded = await load.then(
          () => true,
          () => false,
        );
        const [bitmap] = await disk.bitmaps();
        assert.ok(bitmap === undefined ? !isLoaded : bitmap[2] === 1, `${steps} steps: ${bitmap}`);
        assert.deepEqual([...(await disk.trusted()).sidecars], [], `${steps} steps: the sidecar is not believed again`);
      }
    });

    const changes: Record<string, (path: string) => void> = {
      'written to': (path) => writeFileSync(path, 'x', { flag: 'r+' }),
      'written to, with its times set back': (path) => {
        writeFileSync(path, 'x', { flag: 'r+' });
        utimesSync(path, 1, 1);
      },
      grown: (path) => truncateSync(path, 2 * SIZE),
    };
    for (const [what, change] of Object.entries(changes))
      test(`a disk that was ${what} by somebody else: its sidecar is not believed`, async (t) => {
        const disk = await Disk.open(t, build, 'raw');
        await disk.add(1);
        await disk.powerCycle(t);
        change(disk.path);
        assert.deepEqual([...(await disk.trusted()).sidecars], []);
        await loadSidecars(disk.monitor, disk.node, ID, await disk.trusted());
        assert.equal(existsSync(join(disk.node.guestPath(ID), 'sidecars.json')), false);
        assert.deepEqual(await disk.bitmaps(), []);
      });
  });

const ID = parseGuestId(101);

/** From then on nothing reaches QEMU any more. */
function killedAfter(monitor: QmpCommands, steps: number): QmpCommands {
  let left = steps;
  return {
    execute: async (command, args, options) => {
      if (left-- <= 0) throw new Error('killed');
      return await monitor.execute(command, args, options);
    },
  };
}

/** A disk of a QEMU of its own, written to over NBD as a guest would. */
class Disk {
  readonly build: QemuBuild;
  readonly format: 'raw' | 'qcow2';
  readonly path: string;
  readonly node: NodeDirectory;
  monitor!: QmpClient;
  #child: { kill(signal: NodeJS.Signals): boolean } | undefined;
  readonly #socket: string;

  private constructor(build: QemuBuild, format: 'raw' | 'qcow2', directory: string) {
    this.build = build;
    this.format = format;
    this.path = join(directory, `disk.${format}`);
    this.node = new NodeDirectory(join(directory, 'node'));
    this.#socket = `${this.path}.nbd`;
  }

  static async open(t: TestContext, build: QemuBuild, format: 'raw' | 'qcow2'): Promise<Disk> {
    const disk = new Disk(build, format, scratch(t));
    // Not in the directory of the test: sockets stand where the host forgets them.
    t.after(() => rm(disk.node.runPath, { recursive: true, force: true }));
    await disk.node.prepare(ID);
    await run('qemu-img', ['create', '-q', '-f', format, disk.path, String(SIZE)]);
    await disk.#start(t);
    return disk;
  }

  async #start(t: TestContext): Promise<void> {
    const { socketPath, child } = await startMonitor(t, this.build);
    this.#child = child;
    this.monitor = await connectSoon(socketPath);
    t.after(() => this.monitor.close());
    const file = { driver: 'file', filename: this.path };
    await this.monitor.execute('blockdev-add', { driver: this.format, 'node-name': 'd-scsi0', file });
    await this.monitor.execute('nbd-server-start', { addr: { type: 'unix', data: { path: this.#socket } } });
    const share = { type: 'nbd', id: 'share', 'node-name': 'd-scsi0', name: 'd', writable: true };
    await this.monitor.execute('block-export-add', share);
  }

  async add(number: number, target = OURS): Promise<void> {
    const persistent = this.format === 'qcow2';
    const more = { persistent, granularity: BITMAP_GRANULARITY };
    await this.monitor.execute('block-dirty-bitmap-add', { node: 'd-scsi0', name: name(number, target), ...more });
  }

  async disable(number: number): Promise<void> {
    await this.monitor.execute('block-dirty-bitmap-disable', { node: 'd-scsi0', name: name(number) });
  }

  /** One grain of the bitmaps. */
  async write(grain: number): Promise<void> {
    const write = `write -P 5 ${grain * BITMAP_GRANULARITY} ${BITMAP_GRANULARITY}`;
    await run('qemu-io', ['-f', 'raw', '-c', write, `nbd+unix:///d?socket=${this.#socket}`]);
  }

  /** Name, whether it records, and how many grains are in it. */
  async bitmaps(): Promise<unknown[][]> {
    const all = await listBitmaps(this.monitor);
    return all.map((each: DiskBitmap) => [each.name, each.isRecording, each.dirtyBytes / BITMAP_GRANULARITY]);
  }

  async trusted(): Promise<Trust> {
    return await trustedSidecars(this.node, ID, [
      { key: 'scsi0', path: this.path, storesBitmaps: false, isAlone: true },
    ]);
  }

  /** As a stop and a start of the guest, but that nothing is loaded yet. */
  async powerCycle(t: TestContext): Promise<void> {
    const unsealed = await storeSidecars(this.monitor, this.node, ID, [
      { key: 'scsi0', path: this.path, storesBitmaps: false, isAlone: true },
    ]);
    await this.monitor.execute('quit').catch(() => undefined);
    await sealSidecars(this.node, ID, unsealed);
    await this.#start(t);
  }

  /** A first end in order, so that the bitmap is in the image; what is open at the kill is marked as in use there. */
  async reopenAfterKill(t: TestContext): Promise<void> {
    await this.monitor.execute('quit').catch(() => undefined);
    await this.#start(t);
    await this.write(1);
    this.#child?.kill('SIGKILL');
    await this.#start(t);
  }
}

/** The socket's file is there a moment before QEMU listens on it. */
async function connectSoon(socketPath: string): Promise<QmpClient> {
  for (let tries = 0; ; tries++) {
    try {
      return await QmpClient.connect(socketPath, { label: 'test' });
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'guest-stopped' || tries > 100) throw error;
      await sleep(20);
    }
  }
}
