import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseVzdumpName } from '../../../src/agent/vma/vzdump-name.ts';

test('a name says the guest and the local time', (t) => {
  const zone = process.env.TZ;
  t.after(() => {
    if (zone === undefined) delete process.env.TZ;
    else process.env.TZ = zone;
  });
  const time = (name: string): string | undefined => {
    const parsed = parseVzdumpName(name);
    return parsed && `${parsed.group} ${new Date(parsed.time * 1000).toISOString()}`;
  };
  process.env.TZ = 'Europe/Berlin';
  assert.equal(time('vzdump-qemu-101-2026_01_31-02_00_00.vma.zst'), 'vm/101 2026-01-31T01:00:00.000Z');
  assert.equal(time('vzdump-qemu-100200300-2026_07_01-02_00_59.vma'), 'vm/100200300 2026-07-01T00:00:59.000Z');
  for (const name of ['2026_03_29-02_30_00', '2026_02_30-02_00_00', '2026_13_01-02_00_00', '2026_01_01-24_00_00'])
    assert.throws(() => parseVzdumpName(`vzdump-qemu-101-${name}.vma.gz`), { code: 'bad-name', message: /--time/ });
  process.env.TZ = 'UTC';
  assert.equal(time('vzdump-qemu-101-2026_03_29-02_30_00.vma.lzo'), 'vm/101 2026-03-29T02:30:00.000Z');
  for (const name of [
    'vzdump-qemu-011-2026_01_31-02_00_00.vma',
    'vzdump-qemu-10-2026_01_31-02_00_00.vma',
    'vzdump-lxc-101-2026_01_31-02_00_00.tar.zst',
    'vzdump-qemu-101-2026_01_31-02_00_00.vma.zst.notes',
    'x-vzdump-qemu-101-2026_01_31-02_00_00.vma',
  ])
    assert.equal(parseVzdumpName(name), undefined, name);
});
