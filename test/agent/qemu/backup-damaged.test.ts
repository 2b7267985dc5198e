// qcow2 images that are damaged, of guests that do not run: the backup says which volume it is, stores no snapshot of it, writes nothing into it, and leaves nothing behind.
// QEMU itself would open some of them, read zeros where data is missing, and put a bitmap where the data of the disk lies.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import type { HoldfastError } from '../../../src/util/errors.ts';
import { run } from '../../../src/util/run.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { VmBackups } from './vm-backups.ts';

const MIB = 1 << 20;
const skip = await reasonToSkipGuest();

function write(path: string, offset: number, bytes: Buffer): void {
  const file = openSync(path, 'r+');
  writeSync(file, bytes, 0, bytes.length, offset);
  closeSync(file);
}

function write64(path: string, offset: number, value: bigint): void {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  write(path, offset, bytes);
}

function read64(path: string, offset: number): bigint {
  const bytes = Buffer.alloc(8);
  const file = openSync(path, 'r');
  readSync(file, bytes, 0, 8, offset);
  closeSync(file);
  return bytes.readBigUInt64BE();
}

const COPIED = 1n << 63n;
const [L1_AT, REFCOUNTS_AT, FEATURES_AT] = [40, 48, 72];
const l1Of = (path: string) => Number(read64(path, L1_AT));
const l2Of = (path: string) => Number(read64(path, l1Of(path)) & 0x00ff_ffff_ffff_fe00n);
const refcountsOf = (path: string) => Number(read64(path, Number(read64(path, REFCOUNTS_AT))));

const DAMAGES: Readonly<Record<string, (path: string) => void>> = {
  'an empty file': (path) => truncateSync(path, 0),
  'a header that is none': (path) => write(path, 0, Buffer.alloc(64, 5)),
  'a file that is cut off': (path) => truncateSync(path, statSync(path).size >> 1),
  'no counts of references': (path) => write(path, refcountsOf(path), Buffer.alloc(65_536)),
  'a table of counts beyond the end': (path) => write64(path, REFCOUNTS_AT, 0x7f_ff00_0000n),
  'a cluster beyond the end': (path) => write64(path, l2Of(path), 0x7fff_0000n | COPIED),
  'a cluster between clusters': (path) => write64(path, l2Of(path), 0x5_0200n | COPIED),
  'a table beyond the end': (path) => write64(path, l1Of(path), 0x7fff_0000n | COPIED),
  'the mark of QEMU': (path) => write64(path, FEATURES_AT, 2n),
};
/** Before a first backup, and after one, when the image has a bitmap and QEMU's own. */
const AGES = ['new', 'backed up before'] as const;

suite('backups of damaged images', { skip, timeout: 120_000 }, () => {
  let vms: VmBackups;
  let number = 7410;

  before(async () => {
    vms = await VmBackups.create();
  });

  after(async () => {
    await vms?.remove();
  });

  async function addGuest(): Promise<{ id: GuestId; path: string; volume: string }> {
    number++;
    const [volume, raw] = [`vm-${number}-disk-0.qcow2`, `vm-${number}-disk-1.raw`];
    const id = await vms.addPlainVm(number, [`scsi0: local:${number}/${volume}`, `scsi1: local:${number}/${raw}`]);
    const path = join(vms.imagesOf(number), volume);
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', path, '4M']);
    await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 1M', path]);
    writeFileSync(join(vms.imagesOf(number), raw), randomBytes(MIB));
    return { id, path, volume: `local:${number}/${volume}` };
  }

  for (const age of AGES)
    for (const [name, damage] of Object.entries(DAMAGES))
      test(`${name}, ${age}`, async () => {
        const { id, path, volume } = await addGuest();
        if (age !== 'new') await vms.backup(id);
        const { directory } = vms.node.node;
        await directory.prepare(id);
        const kept = () => readdirSync(directory.guestPath(id)).filter((file) => /bitmaps|sidecars/.test(file));
        const before = kept();
        const sound = `${path}.sound`;
        copyFileSync(path, sound);
        damage(path);
        const damaged = readFileSync(path);
        for (let count = 0; count < 2; count++) {
          const message = await vms.backup(id).then(
            () => assert.fail('it was backed up'),
            (error: HoldfastError) => {
              assert.ok(['source-failed', 'guest-failed'].includes(error.code), error.code);
              return error.message;
            },
          );
          assert.match(message, new RegExp(`VM ${id}: scsi0: volume '${volume}' (is damaged|cannot be opened)`));
          assert.match(message, /qemu-img check.*restore it/);
          assert.ok(readFileSync(path).equals(damaged), 'nothing was written to it');
          assert.deepEqual(readdirSync(directory.run(id).path), [], 'no socket is left');
          assert.equal((await vms.node.node.configs.read(id)).config.values.get('lock'), undefined);
          assert.deepEqual(kept(), before, 'what is known of the other disk stays');
          const session = await vms.store.session(`vm/${id}`);
          assert.equal(session.bases.length, age === 'new' ? 0 : 1, 'no snapshot is made');
          await session.suspend();
        }
        copyFileSync(sound, path);
        const result = await vms.backup(id);
        assert.deepEqual(result.report.warnings, []);
        if (age !== 'new') assert.match(result.report.logs.join('\n'), /scsi1: incremental since/);
        assert.equal(readFileSync(await vms.restored(result, 'scsi0'))[4096], 7);
      });

  test('what does no harm is backed up: clusters that nobody uses, counts that QEMU makes anew', async () => {
    for (const harm of [
      (path: string) => write64(path, l2Of(path), 0n),
      (path: string) => {
        write64(path, FEATURES_AT, 1n);
        write(path, refcountsOf(path) + 10, Buffer.alloc(16));
      },
    ]) {
      const { id, path } = await addGuest();
      harm(path);
      const result = await vms.backup(id);
      assert.equal(readFileSync(await vms.restored(result, 'scsi0'))[MIB - 1], 7);
      assert.match((await vms.backup(id)).report.logs.join('\n'), /scsi0: incremental since/);
    }
  });
});
