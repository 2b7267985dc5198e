import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_PACKS, PackState, PackTable } from '../../../src/datastore/packs/pack-table.ts';

const id = (n: number) => Buffer.alloc(16, n);

test('packs keep their number, id and kind, and every view of the buffer sees the same', () => {
  const table = new PackTable();
  const view = new PackTable(table.buffer);
  assert.equal(table.count, 0);
  assert.equal(table.add(id(1), 1, PackState.open), 0);
  assert.equal(view.add(id(2), 2, PackState.open), 1);
  for (const each of [table, view]) {
    assert.equal(each.count, 2);
    assert.deepEqual(each.packId(0), id(1));
    assert.deepEqual(each.packId(1), id(2));
    assert.deepEqual([each.kind(0), each.kind(1)], [1, 2]);
    assert.equal(each.state(0), PackState.open);
  }
  view.setState(0, PackState.condemned);
  assert.equal(table.state(0), PackState.condemned);
  assert.equal(table.state(1), PackState.open);
});

test('an id is a copy', () => {
  const table = new PackTable();
  const bytes = id(1);
  table.add(bytes, 1, PackState.open);
  bytes.fill(9);
  table.packId(0).fill(8);
  assert.deepEqual(table.packId(0), id(1));
});

test('durable is what a sync covered, once the directory is durable too (rule D1)', () => {
  const table = new PackTable();
  const pack = table.add(id(1), 1, PackState.open);
  table.markWritten(pack, 8192);
  assert.ok(!table.isDurable(pack, 100));
  table.markDurable(pack, 4096);
  assert.ok(!table.isDurable(pack, 100), 'the name of the file may still be lost');
  table.markDirectoryDurable(pack);
  assert.ok(table.isDurable(pack, 4096));
  assert.ok(!table.isDurable(pack, 4097));
  assert.equal(table.writtenEnd(pack), 8192);
  assert.ok(!table.isWhollyDurable(pack));
  table.setState(pack, PackState.sealed);
  assert.ok(table.isWhollyDurable(pack));
});

test('a sealed pack from the disk is durable to its end; a condemned one is not to be relied on', () => {
  const table = new PackTable();
  const pack = table.addSealed(id(3), 2, 12_288);
  assert.ok(table.isDurable(pack, 12_288) && !table.isDurable(pack, 12_289));
  assert.ok(table.isWhollyDurable(pack));
  table.setState(pack, PackState.condemned);
  assert.ok(!table.isWhollyDurable(pack) && table.isDurable(pack, 12_288));
});

test('a full table refuses, and says the limit, without losing count', () => {
  const table = new PackTable();
  for (let n = 0; n < MAX_PACKS; n++) table.add(id(n & 255), 1, PackState.sealed);
  assert.throws(() => table.add(id(1), 1, PackState.open), {
    code: 'too-many',
    message: new RegExp(String(MAX_PACKS)),
  });
  assert.equal(table.count, MAX_PACKS);
  assert.deepEqual(table.packId(MAX_PACKS - 1), id((MAX_PACKS - 1) & 255));
});
