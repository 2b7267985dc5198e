// A verification whose report is longer than a row of the list of tasks ends at a server as it does in a directory, with every damaged file.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { messageOf, newPlace } from '../cli/holdfast.ts';
import { startRig } from '../support/server/server-rig.ts';

const FILES = 1000;
const NAME = `in-a-directory-${'x'.repeat(60)}`;
const DATA_RECORD = 1;

/** Flips a bit inside of every record that has content. */
function spoilAll(repository: string): void {
  for (const name of readdirSync(join(repository, 'packs'))) {
    const path = join(repository, 'packs', name);
    const bytes = readFileSync(path);
    for (let at = bytes.indexOf('HDFR'); at >= 0; at = bytes.indexOf('HDFR', at + 1))
      if (bytes[at + 5] === DATA_RECORD) {
        const inside = at + 56 + 32 * bytes.readUInt32LE(at + 8) + 2;
        bytes[inside] = (bytes[inside] as number) ^ 1;
      }
    writeFileSync(path, bytes);
  }
}

test('a thousand damaged files are told by a server as by a directory', { timeout: 120_000 }, async (t) => {
  const [rig, local] = await Promise.all([startRig(t), newPlace(t)]);
  const remote = await rig.newcomer('admin', 'DatastoreAdmin');
  const tree = rig.path('tree');
  mkdirSync(join(tree, NAME), { recursive: true });
  for (let at = 0; at < FILES; at++) writeFileSync(join(tree, NAME, `file-${at}`), randomBytes(3000));
  const told: { found: object; message: string }[] = [];
  for (const [place, repository] of [
    [local, local.repository],
    [remote, rig.storePath],
  ] as const) {
    await place.run('backup', '--group', 'host/many', `root.tree:${tree}`);
    spoilAll(repository);
    const ran = await place.try(['datastore', 'verify', '--output-format', 'json']);
    const { damaged } = JSON.parse(ran.stdout.toString()) as {
      damaged: { files: { count: number; first: unknown[] } }[];
    };
    const found = damaged[0]?.files;
    assert.ok(found !== undefined && JSON.stringify(found).length > 64 * 1024, ran.stderr);
    assert.deepEqual([damaged.length, found.count, found.first.length], [1, FILES, FILES]);
    told.push({ found, message: messageOf({ ...ran, stdout: Buffer.alloc(0) }, 'object-damaged') });
  }
  assert.deepEqual(told[1], told[0]);
});
