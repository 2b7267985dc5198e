import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  CONTENT_DIRECTORIES,
  findVolumeName,
  formatVolumeName,
  nextDiskStem,
  parseVolumeName,
  wishedStem,
} from '../../../src/guests/storage/volume-name.ts';

test('each kind of name is understood, and printed as it was', () => {
  for (const [name, vmid, format] of [
    ['100/vm-100-disk-0.raw', 100, 'raw'],
    ['999999999/vm-999999999-state-before_update.qcow2', 999_999_999, 'qcow2'],
    ['100/base-100-disk-1.qcow2', 100, 'qcow2'],
    ['iso/debian-12.5.0-amd64-netinst.ISO', undefined, 'raw'],
    ['vztmpl/alpine.tar.xz', undefined, 'raw'],
    ['snippets/hook.pl', undefined, 'raw'],
    ['import/cloud.qcow2', undefined, 'qcow2'],
    ['backup/vzdump-lxc-101-2026_11_20-02_00_00.tar.zst', 101, 'raw'],
  ] as const) {
    const parsed = parseVolumeName(name);
    assert.equal(parsed.vmid, vmid);
    assert.equal(parsed.format, format);
    assert.equal(formatVolumeName(parsed), name);
  }
});

test('whatever is accepted is one entry of its directory', () => {
  const parts = fc.constantFrom(
    '100',
    'vm-100-',
    'disk-0',
    '/',
    '..',
    '.',
    '.raw',
    '.qcow2',
    'iso',
    '.iso',
    '@',
    '\0',
    'x',
    ' ',
    '-',
    '\\',
    'ä',
  );
  const texts = fc.oneof(
    fc.string(),
    fc.array(parts, { maxLength: 8 }).map((list) => list.join('')),
  );
  fc.assert(
    fc.property(texts, fc.constantFrom('', '100/', 'iso/', 'snippets/', 'import/'), (text, prefix) => {
      const parsed = findVolumeName(prefix + text);
      if (parsed === undefined) return;
      assert.equal(formatVolumeName(parsed), prefix + text);
      const entry = parsed.content === 'images' ? `${parsed.stem}.${parsed.format}` : parsed.file;
      const base = join('/store', CONTENT_DIRECTORIES[parsed.content]);
      assert.equal(join(base, entry), `${base}/${entry}`);
      assert.doesNotMatch(entry, /[/\0\n,]|^\./);
    }),
    { numRuns: 2000 },
  );
});

test('the next disk has the first number that no format took', () => {
  assert.equal(nextDiskStem(100, []), 'vm-100-disk-0');
  const entries = [
    'vm-100-disk-0',
    'base-100-disk-1.qcow2',
    'vm-100-disk-2.raw',
    'vm-100-disk-4.raw',
    'vm-101-disk-3.raw',
  ];
  assert.equal(nextDiskStem(100, entries), 'vm-100-disk-3');
  assert.equal(nextDiskStem(100, ['vm-100-disk-0@snap', 'vm-100-cloudinit.raw']), 'vm-100-disk-0');
});

test('a wished name may have the ending of its format and no other', () => {
  assert.equal(wishedStem('vm-100-cloudinit', 100, 'raw'), 'vm-100-cloudinit');
  assert.equal(wishedStem('vm-100-cloudinit.raw', 100, 'raw'), 'vm-100-cloudinit');
  for (const wish of ['vm-100-cloudinit.qcow2', 'vm-100-x.raw.raw', 'vm-1000-x', 'cloudinit', ''])
    assert.throws(() => wishedStem(wish, 100, 'raw'), { code: 'bad-name' });
});
