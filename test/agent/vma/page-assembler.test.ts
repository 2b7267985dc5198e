import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { PageAssembler } from '../../../src/agent/vma/page-assembler.ts';
import { SpillFile } from '../../../src/agent/vma/spill-file.ts';
import { scratch } from '../nbd/servers.ts';

const CLUSTER = 65_536;

test('eight pages are open, what makes room lies in a file without a name, and its room is used again', async (t) => {
  const directory = scratch(t);
  const spill = new SpillFile(directory, 100 * CLUSTER);
  t.after(() => spill.close());
  const pages = new PageAssembler(spill);
  const put = async (device: number, page: number, cluster: number): Promise<void> => {
    (await pages.room(device, page * 256 + cluster, 0xffff)).fill(device * 100 + page + cluster);
  };
  for (let page = 0; page < 8; page++) await put(1, page, 3);
  assert.equal(spill.bytes, 0, 'nothing is put aside while eight are enough');
  // Page 0 was touched last, so it is page 1 that makes room.
  await put(1, 0, 4);
  await put(2, 0, 5);
  assert.equal(spill.bytes, CLUSTER);
  assert.deepEqual(readdirSync(directory), []);
  await put(1, 1, 7);
  assert.equal(spill.bytes, 2 * CLUSTER, 'page 2 followed');
  const taken = await pages.take(1, 1);
  assert.ok(taken !== undefined);
  const masks = [...taken.masks.entries()].filter(([, mask]) => mask !== 0);
  assert.deepEqual(masks, [
    [3, 0xffff],
    [7, 0xffff],
  ]);
  for (const [cluster] of masks) assert.equal(taken.bytes[cluster * CLUSTER + 9], 101 + cluster);
  pages.release(taken);
  assert.equal(await pages.take(1, 100), undefined, 'a page of which nothing is stored is zeros');
  await put(3, 0, 1);
  await put(3, 1, 1);
  assert.equal(spill.bytes, 2 * CLUSTER, 'the room that page 1 had is used again');
});

test('what cannot be put aside is told: a limit, a directory that is not there', async (t) => {
  const directory = scratch(t);
  const small = new SpillFile(directory, CLUSTER);
  t.after(() => small.close());
  await small.write(Buffer.alloc(CLUSTER));
  await assert.rejects(small.write(Buffer.alloc(CLUSTER)), { code: 'too-large' });
  const nowhere = new SpillFile(join(directory, 'none'), CLUSTER);
  await assert.rejects(nowhere.write(Buffer.alloc(CLUSTER)), { code: 'write-failed', message: /TMPDIR/ });
});
