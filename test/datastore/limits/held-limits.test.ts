// Limits as sessions of a real holder meet them.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { createDatastore } from '../../../src/datastore/config.ts';
import { HeldDatastore } from '../../../src/datastore/held-datastore.ts';
import { Layout } from '../../../src/datastore/layout.ts';
import { changeLimits } from '../../../src/datastore/limits/limits-file.ts';
import { spaceOf } from '../../../src/datastore/limits/low-space.ts';
import { ReadDatastore } from '../../../src/datastore/read-datastore.ts';
import type { Limits } from '../../../src/schema/limits-file.ts';
import { skipSmallDisk, withSmallDisk } from '../../support/small-disk.ts';
import { commitImage, createTemporaryStore, NO_SIGNAL, OpenStore, OWNER, putData } from '../../support/store.ts';

let root: string;
let remove: () => Promise<void>;
let open: OpenStore;

beforeEach(async () => {
  ({ root, remove } = await createTemporaryStore());
  open = await OpenStore.open(root);
});

afterEach(async () => {
  await open.crash();
  await remove();
});

const limit = (changes: Partial<Limits>) => changeLimits(new Layout(root), (limits) => ({ ...limits, ...changes }));
const mode = (name: 'none' | 'read-only' | 'offline') =>
  limit({ maintenance: { mode: name, message: 'moving house' } });
const refused = { code: 'datastore-maintenance', message: /moving house/ };

test('read-only: nothing that changes snapshots, in a holder that was there before; reading and an open session go on', async () => {
  const { name } = await commitImage(open, ['one']);
  const session = await open.session('vm/2');
  await mode('read-only');
  await assert.rejects(open.session('vm/3'), refused);
  await assert.rejects(open.store.forget(name), refused);
  await assert.rejects(open.store.updateSnapshot(name, { notes: 'x' }, true), refused);
  await assert.rejects(
    open.store.collectGarbage({ signal: NO_SIGNAL }, async () => {}),
    refused,
  );
  await putData(open, session, 'what was under way goes on');
  (await ReadDatastore.open(root)).close();
  await session.suspend();
  await mode('none');
  await open.store.forget(name);
});

test('offline: nobody gets in, but for a look at it', async () => {
  await mode('offline');
  await assert.rejects(open.session(), refused);
  await assert.rejects(ReadDatastore.open(root), refused);
  (await ReadDatastore.open(root, true)).close();
  await open.close();
  await assert.rejects(HeldDatastore.open(root, open.pool), refused);
  await mode('none');
  open = await OpenStore.open(root);
});

test('a quota is met in the middle of a session: no snapshot, what others need stays, and a higher one lets it end', async () => {
  await commitImage(open, ['before']);
  await limit({ quotas: { namespaces: {}, owners: { [OWNER]: 100_000 } } });
  const session = await open.session('vm/2');
  const chunks = Array.from({ length: 4 }, () => randomBytes(30_000));
  for (const chunk of chunks.slice(0, 3)) await putData(open, session, chunk);
  await assert.rejects(putData(open, session, chunks[3]!), { code: 'quota-exceeded' });
  await putData(open, session, chunks[0]!);
  await session.suspend();
  assert.equal((await open.store.groups.times('' as never, 'vm/2' as never)).length, 0);
  await limit({ quotas: { namespaces: {}, owners: { [OWNER]: 200_000 } } });
  const retry = await open.session('vm/2');
  for (const chunk of chunks) await putData(open, retry, chunk);
  await retry.suspend();
  await limit({ quotas: { namespaces: {}, owners: { [OWNER]: 1 } } });
  await assert.rejects(open.session('vm/2'), { code: 'quota-exceeded' });
});

test('below the low-space limit no session opens; forgetting and collecting work', async () => {
  const { name } = await commitImage(open, ['one']);
  const beyond = spaceOf(root).totalBytes * 2;
  await limit({ lowSpaceBytes: beyond });
  await assert.rejects(open.session(), { code: 'disk-full' });
  await open.store.forget(name);
  await open.store.collectGarbage({ signal: NO_SIGNAL }, async (gc) => gc.sweep(gc.plan(await gc.mark())));
  await limit({ lowSpaceBytes: 0 });
  await (await open.session()).suspend();
});

test('two changes at once leave one of them, whole', async () => {
  await Promise.all([mode('read-only'), mode('none'), limit({ lowSpaceBytes: 5 })]);
  const after = await limit({});
  assert.ok(['read-only', 'none'].includes(after.maintenance.mode));
});

test('a session on a disk that fills up stops above the limit, and space can be freed then', {
  skip: skipSmallDisk(),
}, async () => {
  await withSmallDisk(96 << 20, async (disk) => {
    const path = join(disk.mountPath, 'store');
    await createDatastore(path, 65536);
    const small = await OpenStore.open(path);
    try {
      const limitBytes = 20 << 20;
      await changeLimits(new Layout(path), (limits) => ({ ...limits, lowSpaceBytes: limitBytes }));
      const { name } = await commitImage(small, ['one']);
      const session = await small.session('vm/2');
      await assert.rejects(
        async () => {
          for (;;) await putData(small, session, randomBytes(256 * 1024));
        },
        { code: 'disk-full', message: /low-space-limit/ },
      );
      await session.suspend();
      assert.ok(disk.freeBytes() > 4 << 20, 'it stopped before the disk was full');
      await assert.rejects(small.session('vm/2'), { code: 'disk-full' });
      await small.store.forget(name);
      await small.store.collectGarbage({ signal: NO_SIGNAL }, async (gc) => gc.sweep(gc.plan(await gc.mark())));
    } finally {
      await small.close();
    }
  });
});
