// Disks that fail: ENOSPC and EIO at each step of a backup, file systems that are really full or read-only, sources that change or break.
// Expected is always the same: a clear message, the documented exit code, no snapshot, an open store, and a retry that continues.
import assert from 'node:assert/strict';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { nbdkit, without } from '../agent/nbd/servers.ts';
import {
  type BackupSummary,
  type CliRun,
  errorOf,
  holdfast,
  holdfastWithFault,
  jsonOf,
  skipWithoutBuild,
} from '../support/crash/cli.ts';
import { CommandProcess } from '../support/crash/command-process.ts';
import { copyStore } from '../support/crash/copy-store.ts';
import { type Image, writeVersions } from '../support/crash/images.ts';
import { type Archives, residue, Verifier } from '../support/crash/verifier.ts';
import { type FaultPlan, type FaultRun, runWithFault, skipFaults } from '../support/faults/faults.ts';
import { leftovers, Scratch } from '../support/power-cut/scratch.ts';
import { type SmallDisk, skipSmallDisk, withSmallDisk } from '../support/small-disk.ts';

const MIB = 1 << 20;
const IMAGE_BYTES = 20 * MIB;
/** Images, template and the stores of one test; in memory where it fits, since the faults come before the file system. */
const SCRATCH_BYTES = 512 * MIB;
const DISK = 'disk0.img';
const GROUP = 'vm/101';
const EXIT = {
  'disk-full': 28,
  'write-failed': 29,
  'datastore-read-only': 23,
  'source-failed': 31,
  'source-changed': 32,
} as const;

let scratch: Scratch;
let folder: string;
let images: Image[];
let verifier: Verifier;
let commands: CommandProcess;
/** A store with one snapshot, and that snapshot. */
let template: string;
let first: string;

const archives = (version: number): Archives => ({ [DISK]: images[version - 1]!.path });
const backupOf = (version: number): string[] => [
  'backup',
  '--group',
  GROUP,
  `${DISK}:${images[version - 1]!.path}`,
  '--workers',
  '2',
];

async function start(): Promise<void> {
  scratch = Scratch.create(SCRATCH_BYTES);
  folder = scratch.path;
  images = writeVersions(folder, 'disk', { sizeBytes: IMAGE_BYTES, versions: 2, seed: 5, share: 0.7 });
  verifier = new Verifier();
  commands = new CommandProcess();
  template = join(folder, 'template');
  jsonOf(await commands.run(template, ['datastore', 'create']));
  first = jsonOf<BackupSummary>(await commands.run(template, backupOf(1))).snapshot;
}

async function stop(): Promise<void> {
  await verifier.close();
  await commands.close();
  scratch.dispose();
  assert.deepEqual(leftovers(), []);
}

function freshStore(t: TestContext): string {
  const root = join(mkdtempSync(join(folder, 'store-')), 'store');
  copyStore(template, root);
  t.after(() => rmSync(join(root, '..'), { recursive: true }));
  return root;
}

/** Only the first snapshot is there and restores; then the retry succeeds, continues when it must, and leaves nothing. */
async function requireRetry(root: string, options: { continues?: boolean } = {}): Promise<BackupSummary> {
  await verifier.check(root, { present: new Map([[first, archives(1)]]) });
  const summary = jsonOf<BackupSummary>(await commands.run(root, backupOf(2)));
  if (options.continues) assert.ok(summary.objectsAdopted > 0, 'the retry adopts what was stored');
  await verifier.check(root, {
    present: new Map([
      [first, archives(1)],
      [summary.snapshot, archives(2)],
    ]),
  });
  assert.deepEqual(residue(root), []);
  return summary;
}

function requireFailure(run: CliRun, code: keyof typeof EXIT): void {
  assert.equal(run.status, EXIT[code], `exit ${run.status}, wanted ${EXIT[code]}: ${run.stderr}${run.stdout}`);
  const error = errorOf(run);
  assert.equal(error.code, code);
  assert.ok(error.message.length > 20 && !error.message.includes('bug in Holdfast'), error.message);
  assert.equal(run.stdout, '', 'nothing is reported as done');
}

interface Case {
  readonly what: string;
  readonly plan: Pick<FaultPlan, 'ops' | 'only' | 'nth' | 'sticky'>;
  /** Data was stored before the fault, so the retry continues. */
  readonly continues?: boolean;
}

/** Each step that has to work before a backup may report success. */
const STEPS: readonly Case[] = [
  { what: 'epoch: write of holder.json', plan: { ops: ['write'], only: ['/holder.json'] } },
  { what: 'epoch: rename of holder.json', plan: { ops: ['rename'], only: ['/holder.json'] } },
  { what: 'session file: create', plan: { ops: ['open'], only: ['/sessions/'] } },
  { what: 'session file: write', plan: { ops: ['write'], only: ['/sessions/'] } },
  { what: 'session file: fsync', plan: { ops: ['fsync'], only: ['.json.tmp'], nth: 2 } },
  { what: 'session file: rename', plan: { ops: ['rename'], only: ['/sessions/'] } },
  { what: 'pack: create', plan: { ops: ['open'], only: ['/packs/'] } },
  { what: 'pack: first write', plan: { ops: ['pwrite'], only: ['/packs/'] } },
  { what: 'pack: a write in the middle', plan: { ops: ['pwrite'], only: ['/packs/'], nth: 3 }, continues: true },
  { what: 'pack: every write from the second on', plan: { ops: ['pwrite'], only: ['/packs/'], nth: 2, sticky: true } },
  { what: 'pack: first fdatasync', plan: { ops: ['fdatasync'], only: ['/packs/'] }, continues: true },
  { what: 'pack: third fdatasync', plan: { ops: ['fdatasync'], only: ['/packs/'], nth: 3 }, continues: true },
  { what: 'pack: rename', plan: { ops: ['rename'], only: ['/packs/'] }, continues: true },
  { what: 'group.json: write', plan: { ops: ['write'], only: ['/group.json'] }, continues: true },
  { what: 'group.json: fsync', plan: { ops: ['fsync'], only: ['/group.json'] }, continues: true },
  { what: 'group.json: rename', plan: { ops: ['rename'], only: ['/group.json'] }, continues: true },
  { what: 'directory of the snapshot: mkdir', plan: { ops: ['mkdir'], only: ['Z'] }, continues: true },
  { what: 'manifest: create', plan: { ops: ['open'], only: ['/manifest.json'] }, continues: true },
  { what: 'manifest: write', plan: { ops: ['write'], only: ['/manifest.json'] }, continues: true },
  { what: 'manifest: fsync', plan: { ops: ['fsync'], only: ['/manifest.json'] }, continues: true },
  { what: 'manifest: rename', plan: { ops: ['rename'], only: ['/manifest.json'] }, continues: true },
  { what: 'manifest: fsync of its directory', plan: { ops: ['fsync'], only: ['Z'], nth: 2 }, continues: true },
];

/** The log of a condemned pack ends with its failed call. */
function requireNothingAfter(run: FaultRun): void {
  const failed = run.calls.find((call) => call.number > 0 && call.op === 'fdatasync');
  assert.ok(failed !== undefined, 'a pack was synced');
  const later = run.calls.slice(run.calls.indexOf(failed) + 1);
  const id = /[0-9a-f]{32}/.exec(failed.path)![0];
  const more = later.filter((call) => call.path.includes(id)).map((call) => `${call.op} ${call.path}`);
  assert.deepEqual(more, [], 'nothing is done to a pack whose sync failed');
}

suite('a backup whose disk fails', { skip: skipWithoutBuild() || skipFaults() }, () => {
  before(start);
  after(stop);

  for (const { what, plan, continues } of STEPS) {
    for (const [action, code] of [
      ['enospc', 'disk-full'],
      ['eio', 'write-failed'],
    ] as const) {
      test(`${what}: ${action.toUpperCase()}`, async (t) => {
        const root = freshStore(t);
        requireFailure(await holdfastWithFault(root, backupOf(2), { ...plan, action }), code);
        await requireRetry(root, { ...(continues === undefined ? {} : { continues }) });
      });
    }
  }

  test('a failed fdatasync: the pack is never written, synced or sealed again, and copied out at the next open', async (t) => {
    const root = freshStore(t);
    const failed = await holdfastWithFault(root, backupOf(2), { ops: ['fdatasync'], only: ['/packs/'], action: 'eio' });
    requireFailure(failed, 'write-failed');
    requireNothingAfter(failed);
    const condemned = /[0-9a-f]{32}/.exec(failed.calls.find((call) => call.number === 1)!.path)![0];
    assert.ok(existsSync(join(root, 'packs', `${condemned}.open`)), 'it keeps its name');
    const summary = await requireRetry(root, { continues: true });
    assert.ok(summary.objectsReused > 0);
    assert.deepEqual(
      readdirSync(join(root, 'packs')).filter((name) => name.startsWith(condemned)),
      [],
    );
  });

  test('a session whose sync failed takes nobody with it who comes later', async (t) => {
    const root = freshStore(t);
    const path = join(folder, 'a.conf');
    writeFileSync(path, 'a small file of two sessions');
    const program = fileURLToPath(new URL('failed-session.ts', import.meta.url));
    const plan = { directory: root, action: 'eio', ops: ['fdatasync'], only: ['/packs/'] } as const;
    const run = await runWithFault(['--import', 'tsx', program, root, path], plan);
    assert.equal(run.status, 0, run.stderr);
    assert.equal(run.stdout, 'A write-failed\nB ok\n');
    const listed = jsonOf<{ snapshot: string }[]>(await commands.run(root, ['snapshot', 'list', 'vm/21']));
    const present = new Map([
      [first, archives(1)],
      [listed[0]!.snapshot, { 'a.conf': path }],
    ]);
    await verifier.check(root, { present });
  });

  test('a full disk in the middle of a write, and from then on', async (t) => {
    const root = freshStore(t);
    requireFailure(
      await holdfastWithFault(root, backupOf(2), {
        ops: ['pwrite', 'write'],
        only: ['/packs/'],
        nth: 2,
        action: 'full',
      }),
      'disk-full',
    );
    await requireRetry(root);
  });

  test('short writes are completed', async (t) => {
    const root = freshStore(t);
    const present = new Map([[first, archives(1)]]);
    for (const [only, nth] of [
      ['/packs/', 1],
      ['/packs/', 3],
      ['/group.json', 1],
      ['/manifest.json', 1],
    ] as const) {
      const run = await holdfastWithFault(root, backupOf(2), {
        ops: ['pwrite', 'write'],
        only: [only],
        nth,
        action: 'short',
      });
      present.set(jsonOf<BackupSummary>(run).snapshot, archives(2));
    }
    await verifier.check(root, { present });
  });

  for (const [what, plan] of [
    ['the session file cannot be removed', { ops: ['unlink'], only: ['/sessions/'] }],
    ['the store clock cannot be written', { ops: ['open', 'write', 'rename'], only: ['/clock.json'], sticky: true }],
    [
      'the index snapshot cannot be written',
      { ops: ['open', 'write', 'pwrite', 'rename'], only: ['/index/'], sticky: true },
    ],
  ] as const) {
    test(`after the commit ${what}: the snapshot is reported all the same`, async (t) => {
      const root = freshStore(t);
      const run = await holdfastWithFault(root, backupOf(2), { ...plan, action: 'enospc' });
      const { snapshot } = jsonOf<BackupSummary>(run);
      const present = new Map([
        [first, archives(1)],
        [snapshot, archives(2)],
      ]);
      await verifier.check(root, { present });
      jsonOf(await commands.run(root, ['snapshot', 'note', first, 'the next command']));
      await verifier.check(root, { present });
      assert.deepEqual(residue(root), []);
    });
  }

  for (const [what, args, only] of [
    ['forget', ['snapshot', 'forget', `${GROUP}/latest`], 'Z'],
    ['note', ['snapshot', 'note', `${GROUP}/latest`, 'text'], '/manifest.json'],
  ] as const) {
    for (const [action, code] of [
      ['enospc', 'disk-full'],
      ['eio', 'write-failed'],
    ] as const) {
      test(`${what}: ${action.toUpperCase()} in its sync is an error, and repeating it works`, async (t) => {
        const root = freshStore(t);
        requireFailure(await holdfastWithFault(root, args, { ops: ['fsync'], only: [only], action }), code);
        const present = new Map([[first, archives(1)]]);
        await verifier.check(root, { present, maybeForgotten: [first] });
        const again = await commands.run(root, args);
        assert.ok(again.status === 0 || (what === 'forget' && again.status === 4), again.stderr);
      });
    }
  }

  test('recovery on a full disk: said, and the store opens when there is space', async (t) => {
    const root = freshStore(t);
    const killed = await holdfastWithFault(root, backupOf(2), { action: 'kill', ops: ['rename'], only: ['/packs/'] });
    assert.equal(killed.signal, 'SIGKILL');
    for (const ops of [['pwrite'], ['fdatasync'], ['open']] as const) {
      for (const [action, code] of [
        ['enospc', 'disk-full'],
        ['eio', 'write-failed'],
      ] as const) {
        const run = await holdfastWithFault(root, ['snapshot', 'note', first, 'x'], { action, ops, only: ['/packs/'] });
        requireFailure(run, code);
      }
    }
    await requireRetry(root, { continues: true });
  });

  test('datastore create on a full or broken disk can be repeated', async (t) => {
    const parent = mkdtempSync(join(folder, 'create-'));
    t.after(() => rmSync(parent, { recursive: true }));
    for (const [action, code] of [
      ['enospc', 'disk-full'],
      ['eio', 'write-failed'],
    ] as const) {
      for (const ops of [['mkdir'], ['open'], ['write'], ['fsync'], ['rename']] as const) {
        const root = join(parent, `${action}-${ops[0]}`);
        mkdirSync(root);
        requireFailure(await holdfastWithFault(root, ['datastore', 'create'], { action, ops }), code);
        jsonOf(await commands.run(root, ['datastore', 'create']));
        jsonOf(await commands.run(root, backupOf(1)));
      }
    }
  });
});

suite('a backup on a small disk', { skip: skipWithoutBuild() || skipSmallDisk() }, () => {
  before(start);
  after(stop);

  async function storeOn(disk: SmallDisk): Promise<{ root: string; present: Map<string, Archives> }> {
    const root = join(disk.mountPath, 'store');
    jsonOf(await commands.run(root, ['datastore', 'create']));
    const { snapshot } = jsonOf<BackupSummary>(await commands.run(root, backupOf(1)));
    return { root, present: new Map([[snapshot, archives(1)]]) };
  }

  test('really full after so many bytes: no snapshot, all others restore, and with space it continues', async () => {
    await withSmallDisk(64 * MIB, async (disk) => {
      const { root, present } = await storeOn(disk);
      for (const leaveBytes of [0, 16 * 1024, MIB, 6 * MIB]) {
        disk.fill(leaveBytes);
        const run = await holdfast(root, backupOf(2));
        requireFailure(run, 'disk-full');
        await verifier.check(root, { present });
        disk.release();
      }
      const { snapshot } = jsonOf<BackupSummary>(await holdfast(root, backupOf(2)));
      await verifier.check(root, { present: new Map([...present, [snapshot, archives(2)]]) });
      assert.deepEqual(residue(root), []);
    });
  });

  test('full in the middle of a stream, then the retry adopts what was stored', async () => {
    await withSmallDisk(64 * MIB, async (disk) => {
      const { root, present } = await storeOn(disk);
      disk.fill(10 * MIB);
      const run = await holdfast(root, backupOf(2));
      requireFailure(run, 'disk-full');
      disk.release();
      const summary = jsonOf<BackupSummary>(await holdfast(root, backupOf(2)));
      assert.ok(summary.objectsAdopted > 0, 'the retry adopts what was stored');
      await verifier.check(root, { present: new Map([...present, [summary.snapshot, archives(2)]]) });
    });
  });

  test('out of inodes', async () => {
    await withSmallDisk(
      64 * MIB,
      async (disk) => {
        const { root, present } = await storeOn(disk);
        const many = join(disk.mountPath, 'many');
        mkdirSync(many);
        let made = 0;
        try {
          for (; ; made++) writeFileSync(join(many, String(made)), '');
        } catch (error) {
          assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
        }
        for (const free of [0, 1, 2, 3, 4, 6]) {
          for (let n = 0; n < free && n < made; n++) rmSync(join(many, String(n)), { force: true });
          const run = await holdfast(root, backupOf(2));
          if (run.status === 0) present.set(jsonOf<BackupSummary>(run).snapshot, archives(2));
          else requireFailure(run, 'disk-full');
          await verifier.check(root, { present });
        }
        rmSync(many, { recursive: true });
        const { snapshot } = jsonOf<BackupSummary>(await holdfast(root, backupOf(2)));
        await verifier.check(root, { present: new Map([...present, [snapshot, archives(2)]]) });
      },
      { inodes: 64 },
    );
  });

  test('remounted read-only: reading works, writing says so', async () => {
    await withSmallDisk(64 * MIB, async (disk) => {
      const { root, present } = await storeOn(disk);
      const [name] = [...present.keys()];
      disk.remountReadOnly();
      await verifier.check(root, { present });
      for (const args of [backupOf(2), ['snapshot', 'note', name!, 'x'], ['snapshot', 'forget', name!]]) {
        requireFailure(await holdfast(root, args), 'datastore-read-only');
      }
      jsonOf(await holdfast(root, ['restore', `${GROUP}/latest`, DISK, join(folder, 'from-read-only.img')]));
      disk.remountWritable();
      const { snapshot } = jsonOf<BackupSummary>(await holdfast(root, backupOf(2)));
      await verifier.check(root, { present: new Map([...present, [snapshot, archives(2)]]) });
    });
  });
});

suite('a source that breaks', { skip: skipWithoutBuild() }, () => {
  before(start);
  after(stop);

  /** Runs a backup of `source` behind a stream that ends only after `change`: sizes are known by then, contents unread. */
  async function changedWhileRead(root: string, source: string, change: () => void): Promise<CliRun> {
    const args = ['backup', '--group', GROUP, 'first.img:-', `${DISK}:${source}`];
    return await holdfast(root, args, {
      whileRunning: async (child) => {
        while (readdirSync(join(root, 'sessions')).length === 0 && child.exitCode === null) await sleep(5);
        change();
        child.stdin!.end('a short stream');
      },
    });
  }

  for (const [what, change, codes] of [
    ['shrinks', (path: string) => truncateSync(path, 3 * MIB), ['source-changed']],
    ['grows', (path: string) => appendFileSync(path, Buffer.alloc(MIB, 7)), ['source-changed']],
    ['disappears', (path: string) => rmSync(path), ['not-found', 'source-failed', 'source-changed']],
  ] as const) {
    test(`it ${what} while it is read`, async (t) => {
      const root = freshStore(t);
      const source = join(root, '..', 'source.img');
      copyFileSync(images[1]!.path, source);
      const run = await changedWhileRead(root, source, () => change(source));
      const error = errorOf(run);
      assert.ok((codes as readonly string[]).includes(error.code), run.stderr);
      assert.ok(error.message.includes('source.img'), error.message);
      await requireRetry(root);
    });
  }

  test('it is not there: nothing is begun', async (t) => {
    const root = freshStore(t);
    const run = await holdfast(root, ['backup', '--group', GROUP, `${DISK}:${join(folder, 'nowhere.img')}`]);
    assert.equal(run.status, 4);
    assert.deepEqual(residue(root), []);
    await requireRetry(root);
  });

  test('reading gives EIO', { skip: without('nbdkit') }, async (t) => {
    const root = freshStore(t);
    const trigger = join(root, '..', 'broken');
    const { socketPath } = await nbdkit(
      t,
      '--filter=error',
      'file',
      images[1]!.path,
      'error-pread=EIO',
      'error-pread-rate=100%',
      `error-pread-file=${trigger}`,
    );
    const args = ['backup', '--group', GROUP, `${DISK}:nbd+unix:///?socket=${socketPath}`];
    writeFileSync(trigger, '');
    requireFailure(await holdfast(root, args), 'source-failed');
    await verifier.check(root, { present: new Map([[first, archives(1)]]) });
    rmSync(trigger);
    const summary = jsonOf<BackupSummary>(await holdfast(root, args));
    await verifier.check(root, {
      present: new Map([
        [first, archives(1)],
        [summary.snapshot, archives(2)],
      ]),
    });
    assert.deepEqual(residue(root), []);
  });

  test('reading gives EIO now and then: what was read is stored, and the retry continues', {
    skip: without('nbdkit'),
  }, async (t) => {
    const root = freshStore(t);
    const { socketPath } = await nbdkit(
      t,
      '--filter=error',
      'file',
      images[1]!.path,
      'error-pread=EIO',
      'error-pread-rate=20%',
    );
    const args = ['backup', '--group', GROUP, `${DISK}:nbd+unix:///?socket=${socketPath}`];
    const run = await holdfast(root, args);
    if (run.status !== 0) {
      requireFailure(run, 'source-failed');
      await requireRetry(root);
    } else t.diagnostic('no read failed');
  });
});
