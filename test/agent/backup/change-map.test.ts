import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readChangeMap } from '../../../src/agent/backup/change-map.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { scratch } from '../nbd/servers.ts';

const BASE = 'vm/101/2026-11-20T02:00:00Z';

async function refusal(path: string): Promise<HoldfastError> {
  try {
    await readChangeMap(path);
  } catch (error) {
    assert.ok(error instanceof HoldfastError);
    assert.equal(error.code, 'bad-change-map');
    return error;
  }
  return assert.fail('the change map was accepted');
}

test('a change map is read, its ranges sorted and joined', async (t) => {
  const path = join(scratch(t), 'map.json');
  const extents = [
    { offset: 5000, length: 10 },
    { offset: 0, length: 4096 },
    { offset: 4096, length: 4 },
    { offset: 100, length: 200, reason: 'members that nobody knows are left alone' },
    { offset: 4095, length: 0 },
    { offset: 0, length: 0 },
  ];
  writeFileSync(path, JSON.stringify({ base: BASE, disks: { 'disk0.img': extents, 'disk9.img': [] }, tool: 'x' }));
  const map = await readChangeMap(path);
  assert.equal(map.base, BASE);
  assert.deepEqual(map.disks.get('disk0.img'), [
    { offset: 0, length: 4100 },
    { offset: 5000, length: 10 },
  ]);
  assert.deepEqual(map.disks.get('disk9.img'), []);
  assert.equal(map.disks.get('disk1.img'), undefined);
});

test('names of disks are only names', async (t) => {
  const path = join(scratch(t), 'map.json');
  writeFileSync(path, `{"base":"${BASE}","disks":{"constructor":[],"__proto__":[{"offset":1,"length":2}]}}`);
  const { disks } = await readChangeMap(path);
  assert.deepEqual(disks.get('__proto__'), [{ offset: 1, length: 2 }]);
  assert.equal(disks.get('toString'), undefined);
});

test('ranges at the edge of what a number holds stay as they are', async (t) => {
  const path = join(scratch(t), 'map.json');
  const extent = { offset: Number.MAX_SAFE_INTEGER - 4096, length: 4096 };
  writeFileSync(path, JSON.stringify({ base: BASE, disks: { 'disk0.img': [extent] } }));
  assert.deepEqual((await readChangeMap(path)).disks.get('disk0.img'), [extent]);
});

const wrong: Record<string, string> = {
  'no JSON': '{"base": ',
  'an empty file': '',
  'no base': '{"disks": {}}',
  'no disks': `{"base":"${BASE}"}`,
  'a list': '[]',
  null: 'null',
  'disks as a list': `{"base":"${BASE}","disks":[]}`,
  'an extent as a pair': `{"base":"${BASE}","disks":{"disk0.img":[[0,4096]]}}`,
  'a negative offset': `{"base":"${BASE}","disks":{"disk0.img":[{"offset":-1,"length":1}]}}`,
  'a negative length': `{"base":"${BASE}","disks":{"disk0.img":[{"offset":0,"length":-1}]}}`,
  'half a byte': `{"base":"${BASE}","disks":{"disk0.img":[{"offset":0.5,"length":1}]}}`,
  'a number as text': `{"base":"${BASE}","disks":{"disk0.img":[{"offset":"0","length":1}]}}`,
  'an offset past 2^53': `{"base":"${BASE}","disks":{"disk0.img":[{"offset":9007199254740993,"length":1}]}}`,
  infinity: `{"base":"${BASE}","disks":{"disk0.img":[{"offset":0,"length":1e999}]}}`,
  'no length': `{"base":"${BASE}","disks":{"disk0.img":[{"offset":0}]}}`,
};
for (const [what, text] of Object.entries(wrong)) {
  test(`a change map with ${what} is refused, and the message shows how one looks`, async (t) => {
    const path = join(scratch(t), 'map.json');
    writeFileSync(path, text);
    const { message } = await refusal(path);
    assert.ok(message.includes(path), message);
    assert.match(message, /it looks like \{"base"/);
  });
}

test('a change map that is not there, or a directory, is refused', async (t) => {
  const directory = scratch(t);
  assert.match((await refusal(join(directory, 'none.json'))).message, /none\.json: ENOENT/);
  mkdirSync(join(directory, 'dir.json'));
  assert.match((await refusal(join(directory, 'dir.json'))).message, /EISDIR/);
});
