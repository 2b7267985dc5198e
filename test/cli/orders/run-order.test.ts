// Which archives of an order a host lets through, and as what: paths resolved, sources that are no files, images that name other files.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { AllowedPlaces } from '../../../src/agent/service/allowed-places.ts';
import { allowedArchive } from '../../../src/cli/orders/run-order.ts';
import { withCode } from '../../auth/access-fixture.ts';
import { temporaryDirectory } from '../../datastore/fixture.ts';

function rig(t: TestContext) {
  const root = realpathSync(temporaryDirectory(t));
  const some = new AllowedPlaces('allowBackup', [root]);
  const all = new AllowedPlaces('allowBackup', ['/']);
  return { root, some, all };
}

/** The first sector of a qcow2 image; `backing` at an offset other than 0 is a backing file. */
function qcow2(backing: bigint): Buffer {
  const head = Buffer.alloc(512);
  head.writeUInt32BE(0x514649fb, 0);
  head.writeUInt32BE(3, 4);
  head.writeBigUInt64BE(backing, 8);
  return head;
}

test('each kind of archive keeps its form, with the path that its links lead to', async (t) => {
  const { root, some } = rig(t);
  writeFileSync(join(root, 'disk'), 'x');
  symlinkSync(join(root, 'disk'), join(root, 'link'));
  execFileSync('mkfifo', [join(root, 'pipe')]);
  for (const [given, expected] of [
    [`a.conf:${root}/link`, `a.conf:${root}/disk`],
    [`root.tree:${root}`, `root.tree:${root}`],
    [`root.tree:tar:${root}/link`, `root.tree:tar:${root}/disk`],
    [`disk.img:${root}/link`, `disk.img:${root}/disk`],
    [`disk.img:raw:${root}/link`, `disk.img:raw:${root}/disk`],
    [`disk.img:${root}/not-there`, `disk.img:${root}/not-there`],
    // Nobody writes to it: to look into it would wait for ever.
    [`disk.img:${root}/pipe`, `disk.img:${root}/pipe`],
  ] as const)
    assert.equal(await allowedArchive(given, some), expected);
});

test('outside of the places nothing is let through, in whatever form it is written', async (t) => {
  const { some } = rig(t);
  for (const given of [
    'a.conf:/etc/hostname',
    'root.tree:/etc',
    'root.tree:tar:/etc/x.tar',
    'disk.img:/etc/hostname',
    'disk.img:raw:/etc/hostname',
  ])
    await assert.rejects(allowedArchive(given, some), withCode('not-allowed'), given);
});

test('what is no file needs everything to be allowed, and standard input an agent has not', async (t) => {
  const { some, all } = rig(t);
  for (const given of ['disk.img:nbd://192.0.2.1/x', 'disk.img:nbd+unix:///x?socket=/run/x.sock']) {
    await assert.rejects(allowedArchive(given, some), withCode('not-allowed'));
    assert.equal(await allowedArchive(given, all), given);
  }
  for (const given of ['disk.img:-', 'root.tree:tar:-'])
    await assert.rejects(allowedArchive(given, all), withCode('bad-argument', /standard input/));
});

test('an image that names another file is let through only where every file may be read', async (t) => {
  const { root, some, all } = rig(t);
  writeFileSync(join(root, 'alone.qcow2'), qcow2(0n));
  writeFileSync(join(root, 'chained.qcow2'), qcow2(64n));
  writeFileSync(join(root, 'guest.raw'), qcow2(64n));
  const verdict = async (spec: string, places: AllowedPlaces): Promise<boolean> =>
    await allowedArchive(`disk.img:${spec}`, places).then(
      () => true,
      (error: unknown) => {
        assert.ok(withCode('not-allowed')(error), String(error));
        return false;
      },
    );
  const specs = ['alone.qcow2', 'chained.qcow2', 'guest.raw'].map((name) => join(root, name));
  const forced = [
    `qcow2:${root}/alone.qcow2`,
    `qcow2:${root}/guest.raw`,
    `qed:${root}/alone.qcow2`,
    `raw:${root}/guest.raw`,
  ];
  assert.deepEqual(await Promise.all(specs.map((spec) => verdict(spec, some))), [true, false, false]);
  assert.deepEqual(await Promise.all(forced.map((spec) => verdict(spec, some))), [true, false, false, true]);
  assert.deepEqual(await Promise.all([...specs, ...forced].map((spec) => verdict(spec, all))), Array(7).fill(true));
});
