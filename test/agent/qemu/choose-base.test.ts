// A disk is incremental only when everything fits; each doubt alone makes it a full read, and is said.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { chooseBase } from '../../../src/agent/qemu/choose-base.ts';
import type { VmDisk } from '../../../src/agent/qemu/vm-disk.ts';

type Given = Parameters<typeof chooseBase>;

const TARGET = '0a1b2c3d';
const SNAPSHOT = 'vm/101/2026-11-20T02:00:00Z';
const SIZE = 1 << 20;
const ROOT = 'a'.repeat(64);

const diskOf = (key: string, more: Partial<VmDisk> = {}): VmDisk => ({
  key,
  volume: `local:101/${key}.raw`,
  path: `/images/${key}.raw`,
  format: 'raw',
  isBlockDevice: false,
  isReadOnly: false,
  discards: false,
  isBackedUp: true,
  sizeBytes: SIZE,
  ...more,
});

const bitmapOf = (number: number, more: Partial<Given[2][number]> = {}): Given[2][number] => ({
  target: TARGET,
  number,
  name: `hf-${TARGET}-${number}`,
  key: 'scsi0',
  node: 'd-scsi0',
  isInconsistent: false,
  isRecording: true,
  isBusy: false,
  dirtyBytes: 0,
  ...more,
});

const recordOf = (more: object = {}): NonNullable<Given[3]> => ({
  snapshot: SNAPSHOT,
  disks: {
    scsi0: { bitmap: `hf-${TARGET}-4`, root: ROOT, volume: 'local:101/scsi0.raw', sizeBytes: SIZE, ...more },
  },
});

/** Of a base only its name and its archives are looked at. */
const baseOf = (more: object = {}, name = SNAPSHOT): Given[4][number] =>
  ({
    name,
    archives: [{ name: 'drive-scsi0.img', kind: 'image', root: ROOT, sizeBytes: SIZE, ...more }],
  }) as unknown as Given[4][number];

suite('from what snapshot a disk goes on', () => {
  const choose = (given: { disk?: VmDisk; bitmaps?: Given[2]; record?: Given[3]; bases?: Given[4] } = {}) =>
    chooseBase(
      TARGET,
      [given.disk ?? diskOf('scsi0')],
      given.bitmaps ?? [bitmapOf(4)],
      'record' in given ? given.record : recordOf(),
      given.bases ?? [baseOf()],
    );

  test('everything fits: incremental, and the next bitmap has the next number', () => {
    assert.deepEqual(choose(), {
      base: SNAPSHOT,
      disks: [{ disk: diskOf('scsi0'), since: `hf-${TARGET}-4`, why: undefined, next: `hf-${TARGET}-5` }],
    });
  });

  const doubts: Record<string, [Parameters<typeof choose>[0], RegExp]> = {
    'no record': [{ record: undefined }, /first backup of this guest there/],
    'a disk that the record does not know': [{ disk: diskOf('scsi1') }, /the disk is new/],
    'a snapshot that is gone, or not ours to build on': [
      { bases: [baseOf({}, 'vm/101/2026-11-21T02:00:00Z')] },
      /not one of the newest two/,
    ],
    'another image in a snapshot of that name': [{ bases: [baseOf({ root: 'b'.repeat(64) })] }, /is not the snapshot/],
    'an archive of another kind': [{ bases: [baseOf({ kind: 'tree' })] }, /is not the snapshot/],
    'a snapshot without the disk': [{ bases: [baseOf({ name: 'drive-scsi7.img' })] }, /is not the snapshot/],
    'another volume': [{ disk: diskOf('scsi0', { volume: 'local:101/other.raw' }) }, /was another volume then/],
    'a disk that grew': [{ disk: diskOf('scsi0', { sizeBytes: 2 * SIZE }) }, /had 1048576 bytes then and has 2097152/],
    'a record of another size': [{ record: recordOf({ sizeBytes: 2 * SIZE }) }, /had 2097152 bytes then/],
    'an image of another size': [{ bases: [baseOf({ sizeBytes: 2 * SIZE })] }, /had 1048576 bytes then/],
    'no bitmap': [{ bitmaps: [] }, /its bitmap is gone/],
    'only a bitmap that the record does not name': [{ bitmaps: [bitmapOf(5)] }, /its bitmap is gone/],
    "another disk's bitmap": [{ bitmaps: [bitmapOf(4, { key: 'scsi1' })] }, /its bitmap is gone/],
    "another target's bitmap": [{ bitmaps: [bitmapOf(4, { target: '99999999' })] }, /its bitmap is gone/],
    'an inconsistent bitmap': [{ bitmaps: [bitmapOf(4, { isInconsistent: true })] }, /its bitmap is inconsistent/],
  };
  for (const [name, [given, why]] of Object.entries(doubts))
    test(`${name}: read in full`, () => {
      const { base, disks } = choose(given);
      assert.equal(base, undefined);
      assert.equal(disks[0]?.since, undefined);
      assert.match(disks[0]?.why ?? '', why);
    });

  test('the number is above those of all disks, also where one lost its bitmap', () => {
    const { base, disks } = chooseBase(
      TARGET,
      [diskOf('scsi0'), diskOf('scsi1')],
      [bitmapOf(4), bitmapOf(9, { key: 'scsi1' }), bitmapOf(40, { target: '99999999' })],
      recordOf(),
      [baseOf()],
    );
    assert.equal(base, SNAPSHOT);
    assert.deepEqual(
      disks.map(({ next, since }) => [next, since]),
      [
        [`hf-${TARGET}-10`, `hf-${TARGET}-4`],
        [`hf-${TARGET}-10`, undefined],
      ],
    );
  });
});
