// Rule L1: one holder, many readers, between real processes. A lock goes with its process, however that ends.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, cpSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Layout } from '../../src/datastore/layout.ts';
import { holdAsReader, tryExcludeReaders, tryHold } from '../../src/datastore/lock.ts';
import { skipSmallDisk, withSmallDisk } from '../support/small-disk.ts';
import { bundle } from '../util/bundle.ts';
import { Store } from './fixture.ts';

const PROGRAM = `
import { Layout } from './datastore/layout.ts';
import { holdAsReader, tryExcludeReaders, tryHold } from './datastore/lock.ts';

const [root, action, releaseAfterMs] = process.argv.slice(2);
try {
  const lock = { hold: tryHold, read: holdAsReader, exclude: tryExcludeReaders }[action](new Layout(root));
  console.log(lock === undefined ? 'refused' : 'taken');
  if (lock === undefined) process.exit(0);
  if (releaseAfterMs) setTimeout(() => { lock.release(); process.exit(0); }, Number(releaseAfterMs));
  else setInterval(() => {}, 1000);
} catch (error) {
  console.log('error ' + (error.code ?? error.message));
}
`;

type Action = 'hold' | 'read' | 'exclude';

async function otherProcess(
  t: TestContext,
): Promise<
  (
    root: string,
    action: Action,
    more?: { releaseAfterMs?: number; uid?: number },
  ) => Promise<{ answer: string; child: ChildProcess }>
> {
  const program = fileURLToPath(await bundle(t, PROGRAM));
  return async (root, action, { releaseAfterMs, uid } = {}) => {
    const args = [program, root, action, ...(releaseAfterMs === undefined ? [] : [String(releaseAfterMs)])];
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    t.after(() => child.kill('SIGKILL'));
    const [answer] = (await once(createInterface(child.stdout!), 'line')) as [string];
    return { answer, child };
  };
}

async function killed(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

test('one holder: a second process is refused until the first releases, or is killed', async (t) => {
  const { layout } = await Store.create(t);
  const start = await otherProcess(t);
  const mine = tryHold(layout);
  assert.ok(mine !== undefined);
  assert.equal(tryHold(layout), undefined, 'not twice in one process either');
  assert.equal((await start(layout.root, 'hold')).answer, 'refused');
  mine.release();
  mine.release();
  const other = await start(layout.root, 'hold');
  assert.equal(other.answer, 'taken');
  assert.equal(tryHold(layout), undefined);
  await killed(other.child);
  const again = tryHold(layout);
  assert.ok(again !== undefined, 'kill -9 releases the lock');
  again.release();
});

test('many readers, and none while condemned/ is emptied', async (t) => {
  const { layout } = await Store.create(t);
  const start = await otherProcess(t);
  const mine = holdAsReader(layout);
  const other = await start(layout.root, 'read');
  assert.equal(other.answer, 'taken');
  assert.equal(tryExcludeReaders(layout), undefined);
  mine.release();
  assert.equal(tryExcludeReaders(layout), undefined, 'the other process still reads');
  await killed(other.child);
  const exclusion = tryExcludeReaders(layout);
  assert.ok(exclusion !== undefined);
  assert.equal((await start(layout.root, 'exclude')).answer, 'refused');
  exclusion.release();
});

test('a reader that comes while condemned/ is being emptied waits for it', async (t) => {
  const { layout } = await Store.create(t);
  const start = await otherProcess(t);
  const { answer } = await start(layout.root, 'exclude', { releaseAfterMs: 300 });
  assert.equal(answer, 'taken');
  const reader = holdAsReader(layout);
  assert.equal(tryExcludeReaders(layout), undefined);
  reader.release();
});

test('holder and readers do not disturb each other', async (t) => {
  const { layout } = await Store.create(t);
  const holder = tryHold(layout);
  const reader = holdAsReader(layout);
  assert.ok(holder !== undefined);
  holder.release();
  reader.release();
});

test('on a read-only file system readers get in and a holder is told', { skip: skipSmallDisk() }, async (t) => {
  const { layout } = await Store.create(t);
  await withSmallDisk(8 << 20, (disk) => {
    const root = `${disk.mountPath}/store`;
    cpSync(layout.root, root, { recursive: true });
    disk.remountReadOnly();
    const there = new Layout(root);
    assert.throws(() => tryHold(there), { code: 'datastore-read-only', message: /remount/ });
    holdAsReader(there).release();
    disk.remountWritable();
  });
});

test('a user who may only read gets a reader lock and is told about the holder lock', {
  skip: process.getuid?.() === 0 ? false : 'needs root',
}, async (t) => {
  const { layout } = await Store.create(t);
  const start = await otherProcess(t);
  const nobody = 65_534;
  const parent = layout.root.slice(0, layout.root.lastIndexOf('/'));
  for (const path of [parent, layout.root]) chmodSync(path, 0o755);
  chownSync(layout.root, 0, 0);
  assert.equal((await start(layout.root, 'hold', { uid: nobody })).answer, 'error datastore-read-only');
  assert.equal((await start(layout.root, 'read', { uid: nobody, releaseAfterMs: 1 })).answer, 'taken');
});

test('a missing lock file is said, and not made: it would lock nobody out', async (t) => {
  const { layout } = await Store.create(t);
  rmSync(layout.lockDb);
  rmSync(layout.readersDb);
  assert.throws(() => tryHold(layout), { code: 'datastore-read-only', message: /gone/ });
  assert.throws(() => holdAsReader(layout), { code: 'datastore-read-only' });
});
