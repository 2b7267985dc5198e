// Datastores on mounts that do not let one write.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { isRoot, messageOf, newPlace } from '../cli/holdfast.ts';

test('a read-only mount is read, and not written', { skip: !isRoot && 'needs root' }, async (t) => {
  const place = await newPlace(t);
  writeFileSync(place.path('a.conf'), 'content');
  const backup = ['backup', '--group', 'vm/101', `a.conf:${place.path('a.conf')}`];
  await place.run(...backup);
  const mount = spawn('unshare', [
    '--mount',
    'sh',
    '-c',
    `mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && echo ready && cat`,
    place.repository,
  ]);
  t.after(() => mount.kill('SIGKILL'));
  const [word] = await Promise.race([once(mount.stdout, 'data'), once(mount, 'exit')]);
  if (String(word).trim() !== 'ready') return t.skip('mounts are not allowed here');
  const through = ['nsenter', `--mount=/proc/${mount.pid}/ns/mnt`];
  const reading = [
    ['datastore', 'status'],
    ['snapshot', 'list'],
    ['restore', 'vm/101/latest', 'a.conf', place.path('out')],
  ];
  for (const args of reading) {
    const ran = await place.try(args, { through });
    assert.equal(ran.code, 0, `${args.join(' ')}: ${ran.stderr}`);
  }
  const writing = [
    backup,
    ['snapshot', 'forget', 'vm/101/latest'],
    ['snapshot', 'note', 'vm/101/latest', 'x'],
    ['datastore', 'unlock'],
  ];
  for (const args of writing) {
    const ran = await place.try([...args, '--output-format', 'json'], { through });
    assert.match(messageOf(ran, 'datastore-read-only'), /remount it writable/);
  }
  mount.stdin.end();
});
