// The table of datastores, in the real state database.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseDatastoreName } from '../../src/schema/datastore-entry.ts';
import { DatastoreTables } from '../../src/state/datastore-tables.ts';
import { StateDatabase } from '../../src/state/state-database.ts';
import { temporaryDirectory } from '../datastore/fixture.ts';

test('entries are kept, changed and removed, and survive a restart', (t) => {
  const path = join(temporaryDirectory(t), 'state', 'state.db');
  const open = () => {
    const state = StateDatabase.open(path);
    return { state, table: new DatastoreTables(state.db) };
  };
  const first = open();
  const [one, two] = [
    { name: 'one', path: '/backup/one', comment: 'the first', options: { later: [2] } },
    { name: 'two', path: '/backup/two', options: {} },
  ];
  first.table.add(two);
  first.table.add(one);
  assert.throws(() => first.table.add(one), /UNIQUE/);
  assert.throws(() => first.table.add({ ...one, name: 'other' }), /UNIQUE/, 'one directory is one datastore');
  first.state.close();
  const { state, table } = open();
  assert.deepEqual(table.list(), [one, two]);
  table.update({ ...two, comment: 'second' });
  assert.deepEqual(table.get('two'), { ...two, comment: 'second' });
  table.remove('one');
  assert.equal(table.get('one'), undefined);
  state.db.exec(`UPDATE datastores SET options = '[]'`);
  assert.throws(() => table.list(), { code: 'datastore-damaged', message: /two/ });
  state.close();
});

test('names are those that Proxmox takes', () => {
  for (const name of ['abc', 'Store_1', '_x.y-z', 'a'.repeat(32)]) assert.equal(parseDatastoreName(name), name);
  for (const name of ['', 'ab', '-abc', '.abc', 'a/b', '../x', 'a b c', 'äöü', 'a'.repeat(33), 'abc\n'])
    assert.throws(() => parseDatastoreName(name), { code: 'bad-name' }, name);
});
