// File trees, plain and under a key, whose backup, import and restore are killed: no half snapshot, what was stored is taken over, and
// what comes back is the tree, by `diff`, `find` and the restore's own rules.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BackupSummary, errorOf, holdfast, jsonOf } from '../support/crash/cli.ts';
import { CommandProcess } from '../support/crash/command-process.ts';
import { storedRecords } from '../support/crash/stored-records.ts';
import { listSnapshotsOf, residue } from '../support/crash/verifier.ts';
import { randomNumbers } from '../support/power-cut/crash-points.ts';
import { Scratch } from '../support/power-cut/scratch.ts';
import type { KillPath, Scene, Template } from './kill-paths.ts';

const MIB = 1 << 20;
/** Beyond one slice of a directory, some 2,500 names. */
const MANY_NAMES = 5200;
const LARGE_BYTES = 20 * MIB;
/** Tree, archive, and the store and restored trees of one kill; in memory where it fits. */
const SCRATCH_BYTES = 512 * MIB;
const GROUP = 'host/tree';
const ARCHIVE = 'root.tree';
const PARTIAL = '.holdfast-partial-';

/** The tree, its tar archive, a key, and stores without and with a snapshot of it. */
export class TreeWorld {
  readonly #scratch = Scratch.create(SCRATCH_BYTES);
  readonly folder = this.#scratch.path;
  readonly commands = new CommandProcess();
  readonly tree = join(this.folder, 'tree');
  readonly tar = join(this.folder, 'tree.tar');
  readonly #key = join(this.folder, 'key');
  readonly #stateBefore = process.env.HOLDFAST_STATE_DIR;
  readonly #empty = join(this.folder, 'store-empty');
  readonly #one = join(this.folder, 'store-one');

  static async create(seed: number): Promise<TreeWorld> {
    const world = new TreeWorld();
    writeTree(world.tree, seed);
    execFileSync('tar', ['-C', world.tree, '--numeric-owner', '--format=posix', '-cf', world.tar, '.']);
    jsonOf(await holdfast(world.folder, ['key', 'create', world.#key, '--kdf', 'none']));
    for (const root of [world.#empty, world.#one]) jsonOf(await holdfast(root, ['datastore', 'create']));
    world.forgetClient(world.folder);
    jsonOf(await holdfast(world.#one, world.backup(false)));
    return world;
  }

  async close(): Promise<void> {
    await this.commands.close();
    if (this.#stateBefore === undefined) delete process.env.HOLDFAST_STATE_DIR;
    else process.env.HOLDFAST_STATE_DIR = this.#stateBefore;
    this.#scratch.dispose();
  }

  template(name: 'empty' | 'one'): Template {
    return { root: name === 'empty' ? this.#empty : this.#one, present: new Map() };
  }

  /** Each kill has a client of its own: what it remembers is of this copy of the store. */
  forgetClient(folder: string): void {
    process.env.HOLDFAST_STATE_DIR = join(folder, 'state');
  }

  backup(isEncrypted: boolean, source = this.tree): string[] {
    const key = isEncrypted ? ['--keyfile', this.#key, '--acknowledge-lost-key'] : [];
    return ['backup', '--group', GROUP, `${ARCHIVE}:${source}`, '--workers', '2', ...key];
  }

  restore(target: string, isEncrypted: boolean, ...more: string[]): string[] {
    const key = isEncrypted ? ['--keyfile', this.#key] : [];
    return ['restore', `${GROUP}/latest`, ARCHIVE, target, '--workers', '2', ...key, ...more];
  }
}

const backupPath = (name: string, isEncrypted: boolean, source: (world: TreeWorld) => string): KillPath<TreeWorld> => ({
  name,
  template: (world) => world.template('empty'),
  args: (world, folder) => {
    world.forgetClient(folder);
    return world.backup(isEncrypted, source(world));
  },
  judge: (scene) => judgeBackup(scene, isEncrypted, source(scene.world)),
});

export const TREE_KILL_PATHS: readonly KillPath<TreeWorld>[] = [
  backupPath('backup of a file tree', false, (world) => world.tree),
  backupPath('backup of a file tree under a key', true, (world) => world.tree),
  backupPath('import of a tar archive', false, (world) => `tar:${world.tar}`),
  {
    name: 'restore of a file tree',
    template: (world) => world.template('one'),
    args: (world, folder) => {
      world.forgetClient(folder);
      return world.restore(join(folder, 'target'), false);
    },
    counts: 'folder',
    judge: judgeRestore,
  },
];

/** No half snapshot, a clean store, and a retry that takes over what was stored and restores equal. */
async function judgeBackup({ world, root, folder, run }: Scene<TreeWorld>, isEncrypted: boolean, source: string) {
  const before = await listSnapshotsOf(root);
  const broken = before.find((row) => row.error !== null || row.damaged);
  if (broken !== undefined) throw new Error(`${broken.snapshot} is listed as ${broken.error ?? 'damaged'}`);
  if (before.length > 1) throw new Error(`listed although nobody made it: ${before.length} snapshots`);
  if (run.status === 0 && before.length === 0) throw new Error('acknowledged, but it is not there');
  await requireClean(world, root);
  if (before.length === 1) await requireRestores(world, root, join(folder, 'first'), isEncrypted);

  const stored = storedRecords(root);
  const summary = jsonOf<BackupSummary>(await world.commands.run(root, world.backup(isEncrypted, source)));
  if (before.length === 0 && stored.ofUnfinished > 0 && summary.objectsAdopted + summary.objectsReused === 0)
    throw new Error(`${stored.ofUnfinished} records were stored, none taken over`);
  if ((await listSnapshotsOf(root)).length !== before.length + 1)
    throw new Error('the retry made no snapshot of its own');
  await requireRestores(world, root, join(folder, 'second'), isEncrypted);
  await requireClean(world, root);
  const left = residue(root);
  if (left.length > 0) throw new Error(`left behind: ${left.join(' ')}`);
}

/** `--existing changed` completes what was killed. Only files that nobody finished may be beside it, under their own names. */
async function judgeRestore({ world, root, folder, run }: Scene<TreeWorld>): Promise<void> {
  const target = join(folder, 'target');
  if (run.status === 0) requireEqual(world.tree, target);
  const isUnfinished = existsSync(target) && readdirSync(target).length > 0 && run.status !== 0;
  if (isUnfinished) {
    const refused = await world.commands.run(root, world.restore(target, false));
    if (refused.status !== 0 && errorOf(refused).code !== 'target-unfit') throw new Error(`refused: ${refused.stderr}`);
  }
  jsonOf(await world.commands.run(root, world.restore(target, false, '--existing', 'changed')));
  for (const name of readdirSync(target, { recursive: true, encoding: 'utf8' }))
    if (name.includes(PARTIAL)) {
      const made = join(target, name, '..');
      rmSync(join(target, name));
      // Removing it changed the time of its directory, which the restore had set.
      sh(`touch -r '${join(world.tree, made.slice(target.length))}' '${made}'`);
    }
  requireEqual(world.tree, target);
  await requireClean(world, root);
}

async function requireRestores(world: TreeWorld, root: string, target: string, isEncrypted: boolean): Promise<void> {
  jsonOf(await world.commands.run(root, world.restore(target, isEncrypted)));
  requireEqual(world.tree, target);
  rmSync(target, { recursive: true });
}

async function requireClean(world: TreeWorld, root: string): Promise<void> {
  jsonOf(await world.commands.run(root, ['datastore', 'verify']));
}

/** Contents by `diff`; type, mode, owner, size, time and link of every name by `find`. */
function requireEqual(one: string, other: string): void {
  sh(`diff -r --no-dereference '${one}' '${other}' | head -5 | tee /dev/stderr | { ! grep -q .; }`);
  const rows = (path: string): string =>
    sh(
      `cd '${path}'; find . -type d -printf '%P %y %m %U %G %T@\\n' -o -printf '%P %y %m %U %G %n %s %T@ %l\\n' | sort`,
    );
  const [wanted, got] = [rows(one).split('\n'), rows(other).split('\n')];
  const differing = wanted.findIndex((row, place) => row !== got[place]);
  if (differing >= 0 || wanted.length !== got.length)
    throw new Error(`${other}: ${got[differing]}, not ${wanted[differing]}; ${got.length} of ${wanted.length} names`);
}

function sh(script: string): string {
  try {
    return execFileSync('bash', ['-euc', script], {
      encoding: 'utf8',
      maxBuffer: 64 * MIB,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (error) {
    throw new Error(`differs: ${(error as { stderr: string }).stderr.slice(0, 500)}`, { cause: error });
  }
}

/** Many small files, one large, one directory of many names, hard and symbolic links, a file with holes; all of last year. */
function writeTree(tree: string, seed: number): void {
  const random = randomNumbers(seed);
  const bytes = (length: number): Buffer => Buffer.from(Array.from({ length }, () => random() * 256));
  for (let n = 0; n < 30; n++) {
    const directory = join(tree, `d${n}`, 'sub');
    mkdirSync(directory, { recursive: true });
    for (let file = 0; file < 8; file++)
      writeFileSync(join(directory, `f${file}`), bytes(Math.floor(random() * 12_000)));
  }
  mkdirSync(join(tree, 'many'));
  for (let n = 0; n < MANY_NAMES; n++) writeFileSync(join(tree, 'many', `name-${n}`), n % 4 === 0 ? `number ${n}` : '');
  const large = Buffer.alloc(LARGE_BYTES);
  for (let at = 0; at < large.length; at += 4) large.writeInt32LE((random() * 2 ** 32) | 0, at);
  writeFileSync(join(tree, 'large'), large);
  sh(`cd '${tree}'; ln d0/sub/f0 d1/hard; ln -s ../large d2/link; truncate -s 3M holes; echo end >> holes; chmod 4711 d3/sub/f1
    find . -exec touch -h -d '2025-03-04 05:06:07.123456789' {} +`);
}
