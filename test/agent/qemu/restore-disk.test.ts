// A qcow2 disk out of a snapshot whose server is away for a moment: whoever restores it learns of that, and of what really ended it.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { restoreDiskInto } from '../../../src/agent/qemu/restore-disk.ts';
import type { GuestNode } from '../../../src/guests/guest-node.ts';
import { parseGuestId } from '../../../src/schema/guest-names.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { SmallDisk, skipSmallDisk } from '../../support/small-disk.ts';
import { scratch, tool, without } from '../nbd/servers.ts';
import type { Piece } from '../serve/rig.ts';
import { LosingServer } from './losing-server.ts';

const MIB = 1 << 20;
const skip = without('qemu-img');

const DATA: readonly Piece[] = Array.from({ length: 12 }, (_, place) => ({ length: MIB, seed: place + 1 }));

async function rig(t: TestContext, directory: string, pieces = DATA) {
  const server = new LosingServer();
  const { archive, content } = await server.image(pieces);
  server.open([archive.root]);
  const path = join(directory, 'disk.qcow2');
  tool('qemu-img', 'create', '-q', '-f', 'qcow2', path, `${content.length}`);
  const run = scratch(t);
  const warnings: string[] = [];
  const abort = new AbortController();
  const restore = async (): Promise<void> =>
    await restoreDiskInto(
      {
        node: { directory: { run: () => ({ path: run }) } } as unknown as GuestNode,
        id: parseGuestId(8452),
        snapshot: {
          name: 'vm/1/now',
          archives: [archive],
          space: 0,
          pool: server.pool,
          get: () => assert.fail(),
          reopen: server.reopen,
        },
        report: { log: () => {}, warn: (line) => void warnings.push(line) },
        onProgress: () => {},
        signal: abort.signal,
      },
      'scsi0',
      archive,
      { id: 'own:1', path, format: 'qcow2' },
    );
  return { server, content, path, run, warnings, abort, restore };
}

test('a server that is away twice is told of once, and the disk is right', { skip }, async (t) => {
  const { server, content, path, run, warnings, restore } = await rig(t, scratch(t));
  server.away = 2;
  server.lose();
  await restore();
  assert.deepEqual(warnings, ['the server is away']);
  const raw = join(run, 'raw');
  tool('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', path, raw);
  assert.ok(readFileSync(raw).equals(content));
  assert.ok(!existsSync(join(run, 'restore-disk.nbd')), 'the socket is gone');
});

test('a hole takes no room in the image, not even in its tables', { skip }, async (t) => {
  const { path, restore } = await rig(t, scratch(t), [
    { length: 16 * MIB, seed: undefined },
    { length: MIB, seed: 1 },
    { length: 47 * MIB, seed: undefined },
  ]);
  await restore();
  const extents: { start: number; present: boolean }[] = JSON.parse(tool('qemu-img', 'map', '--output=json', path));
  assert.deepEqual(
    extents.map(({ start, present }) => [start / MIB, present]),
    [
      [0, false],
      [16, true],
      [17, false],
    ],
  );
});

test('what qemu-img wrote is on the disk when the restore returns', { skip }, async (t) => {
  const { path, restore } = await rig(t, scratch(t));
  const image = await open(path, 'r');
  t.after(() => image.close());
  const handles = Object.getPrototypeOf(image) as typeof image;
  const { datasync } = handles;
  const synced: { path: string; bytes: number }[] = [];
  t.mock.method(handles, 'datasync', async function (this: typeof image) {
    synced.push({ path: readlinkSync(`/proc/self/fd/${this.fd}`), bytes: (await this.stat()).size });
    await datasync.call(this);
  });
  await restore();
  const { size } = await image.stat();
  assert.ok(size > 12 * MIB);
  assert.deepEqual(synced, [{ path, bytes: size }]);
});

test('a storage that runs full is the reason, also when the server was away before', {
  skip: skip || skipSmallDisk(),
}, async (t) => {
  const disk = new SmallDisk(16 * MIB);
  t.after(() => disk.dispose());
  const { server, warnings, restore } = await rig(t, disk.mountPath);
  disk.fill(3 * MIB);
  server.away = 1;
  server.lose();
  await assert.rejects(restore(), { code: 'disk-full' });
  assert.deepEqual(warnings, ['the server is away']);
});

test('what is lost in the backup is the reason, and who gives it up hears of that alone', { skip }, async (t) => {
  const { server, restore, abort, warnings } = await rig(t, scratch(t));
  for (const [id, { refs }] of server.objects) if (refs.length === 0) server.bad.add(id);
  await assert.rejects(restore(), { code: 'object-missing' });
  server.away = Number.POSITIVE_INFINITY;
  server.lose();
  const given = restore();
  setTimeout(() => abort.abort(new HoldfastError('aborted', 'given up')), 1500);
  await assert.rejects(given, { code: 'aborted', message: 'given up' });
  assert.deepEqual(warnings, ['the server is away']);
});
