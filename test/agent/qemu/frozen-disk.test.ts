// What a backup sees of a running guest's disk: all of it as it was at the instant, whatever the guest has overwritten since, and however it is read.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { Fleece } from '../../../src/agent/qemu/fleece.ts';
import { type FleeceImages, makeFleeceImages } from '../../../src/agent/qemu/fleece-images.ts';
import { openRunningVm } from '../../../src/agent/qemu/open-running-vm.ts';
import type { OpenedVm } from '../../../src/agent/qemu/opened-vm.ts';
import { openDiskReader } from '../../../src/agent/sources/reader.ts';
import type { DiskSource } from '../../../src/agent/sources/source.ts';
import { withMonitor } from '../../../src/guests/vm/machine-state.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import { nodeQemuOf, qemuBuilds } from '../../support/guests/qemu-builds.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { NO_SIGNAL } from '../../support/store.ts';
import { VmBackups } from './vm-backups.ts';

const MIB = 1 << 20;
const SIZE_MIB = 16;
const FORMATS = { scsi0: 'qcow2', scsi1: 'raw' } as const;
const KEYS = Object.keys(FORMATS);
/** At the instant the disks are ones up to here, and zeros behind it. */
const WRITTEN_BYTES = 12 * MIB;

for (const [place, build] of qemuBuilds.entries()) {
  const skip = build.skip || (await reasonToSkipGuest());
  suite(`the disks of a guest at one instant, ${build.name}`, { skip, timeout: 120_000 }, () => {
    let vms: VmBackups;
    let id: GuestId;
    let opened: OpenedVm;
    let images: FleeceImages;

    before(async () => {
      vms = await VmBackups.create({ qemu: nodeQemuOf(build) });
      const disks = Object.entries(FORMATS).map(([key, format]) => [key, { format, sizeMiB: SIZE_MIB }] as const);
      id = await vms.addVm(141 + place, { disks: Object.fromEntries(disks) });
      const { node } = vms.node;
      await startVm(node, id, {}, new KeptReport());
      await tell('stop');
      for (const key of KEYS) await asTheGuest(key, `write -P 1 0 ${WRITTEN_BYTES}`);
      const startFleece = async (...[wanted]: Parameters<Parameters<typeof openRunningVm>[0]['startFleece']>) => {
        images = await makeFleeceImages(node, id, wanted, undefined, NO_SIGNAL);
        const directory = node.directory.run(id).path;
        const room = Promise.resolve({ images: images.images, limitBytes: Number.MAX_SAFE_INTEGER });
        return await Fleece.start(node.qemu, { label: `VM ${id}`, directory, room });
      };
      const more = {
        bases: [],
        readers: 1,
        freezes: false,
        copyTimeoutSeconds: 45,
        atTheInstant: async () => {},
        startFleece,
      };
      opened = await openRunningVm({ ...vms.request(id), ...more });
    });

    after(async () => {
      await opened?.close();
      await images?.free();
      await vms?.remove();
    });

    async function tell(command: string, args?: Readonly<Record<string, unknown>>): Promise<unknown> {
      return await withMonitor(vms.node.node, id, async (monitor) => await monitor.execute(command, args));
    }

    /** By the way that the guest's own requests take. */
    async function asTheGuest(key: string, words: string): Promise<void> {
      const said = await tell('human-monitor-command', { 'command-line': `qemu-io -d ${key} "${words}"` });
      assert.equal(said, '');
    }

    /** Reads a range in one call, as a worker does. */
    async function read(source: DiskSource, offset: number, length: number): Promise<Buffer> {
      const reader = await openDiskReader(source.locator);
      try {
        const bytes = Buffer.alloc(length, 0xee);
        await reader.readInto(offset, bytes);
        return bytes;
      } finally {
        await reader.close();
      }
    }

    function atTheInstant(): Buffer {
      return Buffer.alloc(SIZE_MIB * MIB).fill(1, 0, WRITTEN_BYTES);
    }

    for (const key of KEYS) {
      test(`${key}: what was overwritten is as it was, also when it is read together with what was not`, async () => {
        const source = await opened.sources.get(key)!(NO_SIGNAL);
        try {
          await asTheGuest(key, `write -P 2 8k 8k`);
          await asTheGuest(key, `write -P 3 ${5 * MIB - 4096} 8k`);
          await asTheGuest(key, `write -P 4 ${13 * MIB} 64k`);
          const expected = atTheInstant();
          for (const [offset, length] of [
            [0, 256 * 1024],
            [8192, 8192],
            [4096, 128 * 1024],
            [5 * MIB - 100_000, 1_000_003],
            [13 * MIB - 4096, MIB],
            [0, SIZE_MIB * MIB],
          ] as const) {
            const found = await read(source, offset, length);
            assert.ok(found.equals(expected.subarray(offset, offset + length)), `${length} bytes at ${offset}`);
          }
        } finally {
          await source.close();
        }
      });

      test(`${key}: what was zeroed is not told as zeros that were there`, async () => {
        await asTheGuest(key, `write -z ${6 * MIB} ${MIB}`);
        await asTheGuest(key, `write -z ${9 * MIB + 4096} 4096`);
        await asTheGuest(key, `write -P 5 ${14 * MIB} 4096`);
        const source = await opened.sources.get(key)!(NO_SIGNAL);
        try {
          const expected = atTheInstant();
          let zeros = 0;
          for await (const { offset, length } of source.zeroRanges(NO_SIGNAL)) {
            zeros += length;
            const really = expected.subarray(offset, offset + length);
            assert.ok(
              really.every((byte) => byte === 0),
              `${length} bytes at ${offset} were no zeros`,
            );
          }
          assert.ok(zeros >= 3 * MIB, 'what was zeros and still is need not be read');
          const within = [
            { offset: 5 * MIB, length: 5 * MIB },
            { offset: 15 * MIB, length: MIB },
          ];
          for await (const { offset, length } of source.zeroRanges(NO_SIGNAL, within)) {
            assert.ok(within.some((range) => range.offset <= offset && offset + length <= range.offset + range.length));
            assert.ok(expected.subarray(offset, offset + length).every((byte) => byte === 0));
          }
        } finally {
          await source.close();
        }
      });
    }
  });
}
