// Volumes that a restore makes and frees: each is named by the guest's configuration, and nothing that is left goes untold.
import assert from 'node:assert/strict';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  changeConfig,
  freeVolumes,
  RestoreVolumes,
  withoutUnused,
  withUnused,
} from '../../../src/agent/qemu/restore-volumes.ts';
import { parseVmConfig, withSettings } from '../../../src/guests/config/vm-config.ts';
import { type GuestNode, openGuestNode } from '../../../src/guests/guest-node.ts';
import { parseGuestId } from '../../../src/schema/guest-names.ts';
import { scratch, without } from '../nbd/servers.ts';

const ID = parseGuestId(8451);
const { signal } = new AbortController();
const skip = without('qemu-img');
const EMPTY = parseVmConfig('memory: 64\n', 'a test');

async function rig(t: TestContext) {
  const path = scratch(t);
  const node = await openGuestNode(join(path, 'node'));
  await mkdir(join(path, 'disks'));
  const properties = new Map(Object.entries({ path: join(path, 'disks'), content: 'images' }));
  await node.storages.config.change((before) => ({
    ...before,
    sections: [...before.sections, { type: 'dir', id: 'own', properties }],
  }));
  await node.configs.create(ID, EMPTY);
  const warnings: string[] = [];
  const report = { log: () => {}, warn: (line: string) => void warnings.push(line) };
  return { node, warnings, report, storage: await node.storages.get('own') };
}

const unusedOf = async (node: GuestNode): Promise<string[]> =>
  [...(await node.configs.read(ID)).config.values]
    .filter(([key]) => key.startsWith('unused'))
    .map(([, value]) => value);

test('a volume has whole sectors and is named as unused from the moment it is made; all go again', {
  skip,
}, async (t) => {
  const { node, storage, report, warnings } = await rig(t);
  const volumes = new RestoreVolumes(node, ID);
  const raw = await volumes.make(storage, { sizeBytes: 1000, format: 'raw' }, signal);
  const qcow2 = await volumes.make(storage, { sizeBytes: 1 << 20, format: 'qcow2' }, signal);
  assert.deepEqual(await unusedOf(node), [raw.id, qcow2.id]);
  assert.deepEqual(
    (await storage.list({ vmid: ID })).map(({ sizeBytes }) => sizeBytes),
    [1024, 1 << 20],
  );
  // As after a crash of the storage: what is gone needs not be told.
  await rm(raw.path);
  await volumes.freeAll(report);
  assert.deepEqual([await storage.list({ vmid: ID }), warnings], [[], []]);
  await volumes.freeAll({ ...report, warn: () => assert.fail('they are freed once') });
});

test('a volume that cannot be named goes with the others, and why it could not is told', { skip }, async (t) => {
  const { node, storage, report, warnings } = await rig(t);
  const volumes = new RestoreVolumes(node, ID);
  await volumes.make(storage, { sizeBytes: 512, format: 'raw' }, signal);
  const all = Array.from({ length: 255 }, (_, place) => `own:${ID}/vm-${ID}-disk-${1000 + place}.raw`);
  await changeConfig(node, ID, (config) => withUnused(config, all));
  const { free } = storage;
  storage.free = async () => {
    throw new Error('the storage broke just then');
  };
  await assert.rejects(volumes.make(storage, { sizeBytes: 512, format: 'raw' }, signal), { code: 'too-large' });
  storage.free = free;
  await volumes.freeAll(report);
  assert.deepEqual([await storage.list({ vmid: ID }), warnings], [[], []]);
});

test('what cannot be freed is told and returned: also volumes of a storage that is not there any more', {
  skip,
}, async (t) => {
  const { node, storage, report, warnings } = await rig(t);
  const volumes = new RestoreVolumes(node, ID);
  const made = await volumes.make(storage, { sizeBytes: 512, format: 'raw' }, signal);
  const gone = `own:${ID}/vm-${ID}-disk-9.raw`;
  const away = `away:${ID}/vm-${ID}-disk-1.raw`;
  assert.deepEqual(await freeVolumes(node, [gone, away, made.id, 'no volume'], report), [away, 'no volume']);
  assert.deepEqual(await storage.list({ vmid: ID }), []);
  assert.match(warnings.join('\n'), /^away:.* is left: storage 'away' does not exist\nno volume is left: /);
});

test('changes of a configuration at the same time all stand', { skip }, async (t) => {
  const { node } = await rig(t);
  const names = Array.from({ length: 8 }, (_, place) => `own:${ID}/vm-${ID}-disk-${place}.raw`);
  await Promise.all(names.map((name) => changeConfig(node, ID, (config) => withUnused(config, [name]))));
  assert.deepEqual((await unusedOf(node)).sort(), names);
});

test('unused lines: the free numbers, 256 at most; only those of the volumes go, whatever options they have', () => {
  const some = withSettings(EMPTY, { unused0: 'a:1', unused2: 'a:2,size=1G', scsi0: 'a:3,size=1G' });
  const more = withUnused(some, ['b:1', 'b:2']);
  assert.deepEqual([more.values.get('unused1'), more.values.get('unused3')], ['b:1', 'b:2']);
  assert.deepEqual(more.values.get('unused0'), 'a:1');
  const left = withoutUnused(more, ['a:2', 'a:3', 'b:1']);
  assert.deepEqual([...left.values.keys()].sort(), ['memory', 'scsi0', 'unused0', 'unused3']);
  const full = withUnused(
    EMPTY,
    Array.from({ length: 256 }, (_, place) => `a:${place}`),
  );
  assert.equal(full.values.get('unused255'), 'a:255');
  assert.throws(() => withUnused(full, ['a:256']), { code: 'too-large' });
});
