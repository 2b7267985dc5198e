// The order in which a command writes, read from its own calls. A journal hides some missing syncs from any simulated power cut (each
// fsync of another file flushes the whole disk), so the order itself is asserted: what must be durable was synced before what needs it.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type BackupSummary, holdfast, holdfastWithFault, jsonOf, skipWithoutBuild } from '../support/crash/cli.ts';
import { copyStore } from '../support/crash/copy-store.ts';
import { writeVersions } from '../support/crash/images.ts';
import { type FaultCall, type FaultOp, skipFaults } from '../support/faults/faults.ts';
import { leftovers, Scratch } from '../support/power-cut/scratch.ts';

const IMAGE_BYTES = 20 << 20;
const SCRATCH_BYTES = 256 << 20;

/** The calls of one command in the order in which they began. */
class CallLog {
  readonly #calls: readonly FaultCall[];

  constructor(calls: readonly FaultCall[]) {
    this.#calls = calls;
  }

  places(op: FaultOp, path: RegExp): number[] {
    return this.#calls.flatMap((call, place) => (call.op === op && path.test(call.path) ? [place] : []));
  }

  /** The one place of a call that must happen exactly once. */
  only(op: FaultOp, path: RegExp): number {
    const found = this.places(op, path);
    assert.equal(found.length, 1, `${op} ${path}: ${found.length} times`);
    return found[0]!;
  }

  path(place: number): string {
    return this.#calls[place]!.path;
  }

  requireBetween(op: FaultOp, path: RegExp, from: number, to: number, why: string): void {
    const found = this.places(op, path).some((place) => place > from && place < to);
    assert.ok(found, `${why}: no ${op} of ${path} between ${this.#describe(from)} and ${this.#describe(to)}`);
  }

  /** What `writeFileAtomic` promises; returns the place of its rename. */
  requireAtomic(path: string, folder: RegExp): number {
    const name = new RegExp(`^${path}\\.tmp$`);
    const written = this.places('write', name).concat(this.places('pwrite', name));
    assert.ok(written.length > 0, `${path} is written`);
    const renamed = this.only('rename', new RegExp(`^${path}$`));
    this.requireBetween('fsync', name, Math.max(...written), renamed, 'a file is synced before it gets its name');
    this.requireBetween('fsync', folder, renamed, this.#calls.length, 'a new name is synced');
    return renamed;
  }

  #describe(place: number): string {
    const call = this.#calls[place];
    return call === undefined ? 'the end' : `${call.op} ${call.path}`;
  }
}

/** Every pack that the command wrote is durable, with its name, before `publication`. */
function requirePacksDurable(log: CallLog, publication: number): void {
  const created = log.places('open', /^\/packs\/.*\.open$/);
  assert.ok(created.length > 0, 'packs are written');
  for (const place of created) {
    const path = log.path(place);
    const id = /([0-9a-f]{32})\.open$/.exec(path)![1]!;
    const writes = log.places('pwrite', new RegExp(`^${path}$`));
    assert.ok(writes.length > 0, `${path} is written`);
    const sealed = log.only('rename', new RegExp(`^/packs/${id}\\.pack$`));
    log.requireBetween(
      'fdatasync',
      new RegExp(`^${path}$`),
      Math.max(...writes),
      sealed,
      'a footer is synced before the pack counts as sealed',
    );
    log.requireBetween(
      'fsync',
      /^\/packs$/,
      place,
      publication,
      'the name of a pack is durable before a manifest needs it',
    );
    assert.ok(sealed < publication, `${path} is sealed before the manifest is there`);
  }
}

suite('order of writes', { skip: skipWithoutBuild() || skipFaults() }, () => {
  let scratch: Scratch;
  let folder: string;
  let root: string;
  let paths: string[];
  before(async () => {
    scratch = Scratch.create(SCRATCH_BYTES);
    folder = scratch.path;
    root = join(folder, 'store');
    paths = writeVersions(folder, 'disk', { sizeBytes: IMAGE_BYTES, versions: 2, seed: 3 }).map((image) => image.path);
    jsonOf(await holdfast(root, ['datastore', 'create']));
  });
  after(() => {
    scratch.dispose();
    assert.deepEqual(leftovers(), []);
  });

  const record = async (store: string, ...args: string[]): Promise<{ log: CallLog; stdout: string }> => {
    const run = await holdfastWithFault(store, args, { action: 'count' });
    assert.equal(run.status, 0, run.stderr);
    return { log: new CallLog(run.calls), stdout: run.stdout };
  };

  test('backup: session, packs, high-water mark, manifest, and only then the session goes', async () => {
    const { log } = await record(root, 'backup', '--group', 'vm/7', `disk0.img:${paths[0]}`, '--workers', '2');
    const group = '/snapshots/vm/7';
    const holder = log.requireAtomic('/holder\\.json', /^$/);
    const session = log.only('rename', /^\/sessions\/[0-9a-f]{32}\.json$/);
    log.requireAtomic(log.path(session).replaceAll('.', '\\.'), /^\/sessions$/);
    const firstPack = Math.min(...log.places('open', /^\/packs\//));
    assert.ok(holder < firstPack, 'the epoch is raised before anything is written with it');
    log.requireBetween('fsync', /^\/sessions$/, session, firstPack, 'a session is durable before its first pack');

    const manifest = log.only('rename', /manifest\.json$/);
    requirePacksDurable(log, manifest);
    const marks = log.requireAtomic(`${group}/group\\.json`, new RegExp(`^${group}$`));
    log.requireBetween(
      'fsync',
      new RegExp(`^${group}$`),
      marks,
      manifest,
      'the number is durable before the manifest that uses it',
    );
    log.requireAtomic(log.path(manifest).replaceAll('.', '\\.'), new RegExp(`^${group}/[^/]*Z$`));

    const removed = log.places('unlink', /^\/sessions\//)[0]!;
    for (const directory of [/^\/snapshots$/, /^\/snapshots\/vm$/, new RegExp(`^${group}$`)]) {
      const made = Math.max(0, ...log.places('mkdir', directory).slice(0, 1));
      log.requireBetween(
        'fsync',
        directory,
        made,
        removed,
        'every ancestor of the manifest is durable before the session goes',
      );
    }
    log.requireBetween(
      'fsync',
      new RegExp(`^${group}/[^/]*Z$`),
      manifest,
      removed,
      'the manifest is durable before the session goes',
    );
    log.requireBetween(
      'fsync',
      new RegExp(`^${group}$`),
      log.places('mkdir', new RegExp(`^${group}/[^/]*Z$`))[0]!,
      removed,
      'its directory too',
    );
  });

  test('recovery: copies are sealed and synced before the open pack goes, and only its condemned file is deleted', async () => {
    const store = join(folder, 'crashed');
    copyStore(root, store);
    const plan = { action: 'kill', ops: ['rename'], only: ['packs/'] } as const;
    const killed = await holdfastWithFault(store, ['backup', '--group', 'vm/7', `disk0.img:${paths[1]}`], plan);
    assert.equal(killed.signal, 'SIGKILL');
    const { log } = await record(store, 'snapshot', 'note', 'vm/7/latest', 'recovered');
    const dropped = log.places('rename', /^\/condemned\//);
    assert.ok(dropped.length > 0, 'open packs are copied out');
    requirePacksDurable(log, Math.max(...dropped));
    for (const place of dropped) {
      const path = log.path(place).replaceAll('.', '\\.');
      const id = /[0-9a-f]{32}/.exec(path)![0];
      assert.deepEqual(log.places('rename', new RegExp(`^/packs/${id}`)), [], 'an open pack is never sealed in place');
      assert.deepEqual(log.places('fdatasync', new RegExp(`^/packs/${id}`)), [], 'nor synced in place');
      const deleted = log.only('unlink', new RegExp(`^${path}$`));
      log.requireBetween('fsync', /^\/condemned$/, place, deleted, 'it is condemned durably before it is deleted');
    }
  });

  test('forget: the removal is durable before it is reported', async () => {
    const store = join(folder, 'forget');
    copyStore(root, store);
    const { log } = await record(store, 'snapshot', 'forget', 'vm/7/latest');
    const removed = log.only('unlink', /manifest\.json$/);
    log.requireBetween(
      'fsync',
      /^\/snapshots\/vm\/7\/[^/]*Z$/,
      removed,
      Number.MAX_SAFE_INTEGER,
      'a removal is synced',
    );
  });

  test('notes: a manifest is replaced as a whole', async () => {
    const store = join(folder, 'note');
    copyStore(root, store);
    const { log } = await record(store, 'snapshot', 'note', 'vm/7/latest', 'text');
    const manifest = log.only('rename', /manifest\.json$/);
    log.requireAtomic(log.path(manifest).replaceAll('.', '\\.'), /^\/snapshots\/vm\/7\/[^/]*Z$/);
  });

  test('restore: the target is synced before it is reported', async () => {
    const args = ['restore', 'vm/7/latest', 'disk0.img', join(folder, 'restored.img')];
    const run = await holdfastWithFault(root, args, { action: 'count', directory: folder, only: ['restored.img'] });
    assert.equal(run.status, 0, run.stderr);
    const log = new CallLog(run.calls);
    const last = Math.max(...log.places('pwrite', /restored/));
    log.requireBetween('fdatasync', /restored/, last, Number.MAX_SAFE_INTEGER, 'the last write is synced');
  });

  test('a second backup of the same image syncs no pack twice and writes none', async () => {
    const { log, stdout } = await record(root, 'backup', '--group', 'vm/7', `disk0.img:${paths[0]}`);
    assert.equal((JSON.parse(stdout) as BackupSummary).objectsNew, 0);
    assert.deepEqual(log.places('pwrite', /^\/packs\//), []);
  });
});
