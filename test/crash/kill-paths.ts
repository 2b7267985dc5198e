// The commands that are killed, and what must hold after each kill. A path has a template, a store that is copied for every kill; the
// command is killed at a counted call or after a time; then the store is judged as it lies, after a retry, and for what piles up.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { GcReport } from '../../src/datastore/gc/gc-operation.ts';
import type { ListedSnapshot } from '../../src/datastore/snapshots/list-snapshots.ts';
import { type BackupSummary, errorOf, holdfast, holdfastWithFault, jsonOf } from '../support/crash/cli.ts';
import { CommandProcess } from '../support/crash/command-process.ts';
import { copyStore } from '../support/crash/copy-store.ts';
import { type Image, sameBytes, writeChangeMap, writeVersions } from '../support/crash/images.ts';
import { type KillPoint, spreadKillPoints } from '../support/crash/kill-points.ts';
import type { CrashPlan, Finding, PathReport } from '../support/crash/plan.ts';
import { storedRecords } from '../support/crash/stored-records.ts';
import { type Archives, type Expected, residue, Verifier } from '../support/crash/verifier.ts';
import type { FaultCall } from '../support/faults/faults.ts';
import { Scratch } from '../support/power-cut/scratch.ts';

const MIB = 1 << 20;
/** Two pages, so that two threads write packs that are flushed before they are sealed. */
const IMAGE_BYTES = 20 * MIB;
/** All templates, images and the copies of one kill. In memory where it fits: what a killed process wrote is there on any file system. */
const SCRATCH_BYTES = 512 * MIB;
/** For commands that touch no pack. */
const SMALL_IMAGE_BYTES = 2 * MIB;
const DISK = 'disk0.img';
const GROUP = 'vm/101';

/** A store with what is known of it. */
export interface Template {
  readonly root: string;
  readonly present: ReadonlyMap<string, Archives>;
}

/** One kill, and what a path needs to judge it. */
export interface Scene<Known = World> {
  readonly world: Known;
  readonly root: string;
  /** Beside the store, for restore targets. */
  readonly folder: string;
  readonly present: ReadonlyMap<string, Archives>;
  readonly run: {
    readonly status: number | null;
    readonly signal: NodeJS.Signals | null;
    readonly stdout: string;
    readonly stderr: string;
  };
}

export interface KillPath<Known = World> {
  readonly name: string;
  template(world: Known): Template;
  args(world: Known, folder: string): string[];
  /** Where calls are counted: the store, or the folder beside it. */
  readonly counts?: 'folder';
  /** Judges the store after the kill: throws what is wrong. */
  judge(scene: Scene<Known>): Promise<void>;
}

/** Images, templates and the verifier that all paths share. */
export class World {
  readonly #scratch = Scratch.create(SCRATCH_BYTES);
  readonly folder = this.#scratch.path;
  readonly verifier = new Verifier();
  readonly commands = new CommandProcess();
  readonly images: readonly Image[];
  readonly #small: readonly Image[];
  readonly #templates = new Map<string, Template>();

  private constructor(seed: number) {
    this.images = writeVersions(this.folder, 'disk', { sizeBytes: IMAGE_BYTES, versions: 2, seed, share: 0.25 });
    this.#small = writeVersions(this.folder, 'small', { sizeBytes: SMALL_IMAGE_BYTES, versions: 3, seed: seed + 1 });
  }

  static async create(seed: number): Promise<World> {
    const world = new World(seed);
    const empty = world.#store('empty');
    jsonOf(await holdfast(empty, ['datastore', 'create']));
    world.#templates.set('empty', { root: empty, present: new Map() });
    await world.#grow('one', 'empty', world.images[0]!);
    await world.#grow('two', 'one', world.images[1]!);
    await world.#grow('small-one', 'empty', world.#small[0]!);
    await world.#grow('small', 'small-one', world.#small[1]!);
    await world.#crash();
    await world.#forgetFirst();
    return world;
  }

  async close(): Promise<void> {
    await this.verifier.close();
    await this.commands.close();
    this.#scratch.dispose();
  }

  template(name: 'nothing' | 'empty' | 'one' | 'two' | 'crashed' | 'small' | 'garbage'): Template {
    if (name === 'nothing') return { root: '', present: new Map() };
    return this.#templates.get(name)!;
  }

  archives(version: number): Archives {
    return { [DISK]: this.images[version - 1]!.path };
  }

  backup(version: number, changeMap?: string): string[] {
    const map = changeMap === undefined ? [] : ['--changed-since', changeMap];
    return backupArguments(this.images[version - 1]!, map);
  }

  /** Of an image that no template holds. */
  smallBackup(): string[] {
    return backupArguments(this.#small[2]!);
  }

  /** The newest snapshot of a template. */
  newest(template: Template): string {
    return [...template.present.keys()].at(-1)!;
  }

  #store(name: string): string {
    return join(this.folder, `store-${name}`);
  }

  async #grow(name: string, from: string, image: Image): Promise<void> {
    const before = this.#templates.get(from)!;
    const root = this.#store(name);
    copyStore(before.root, root);
    const { snapshot } = jsonOf<BackupSummary>(await holdfast(root, backupArguments(image)));
    this.#templates.set(name, { root, present: new Map([...before.present, [snapshot, { [DISK]: image.path }]]) });
  }

  /** The first of two snapshots is forgotten: its packs hold garbage beside what the second one shares. */
  async #forgetFirst(): Promise<void> {
    const before = this.#templates.get('two')!;
    const root = this.#store('garbage');
    copyStore(before.root, root);
    const [first, second] = [...before.present] as [[string, Archives], [string, Archives]];
    jsonOf(await holdfast(root, ['snapshot', 'forget', first[0]]));
    this.#templates.set('garbage', { root, present: new Map([second]) });
  }

  /** Killed when the first pack is about to be sealed: two open data packs with records, one session file. */
  async #crash(): Promise<void> {
    const before = this.#templates.get('one')!;
    const root = this.#store('crashed');
    copyStore(before.root, root);
    const run = await holdfastWithFault(root, this.backup(2), {
      action: 'kill',
      ops: ['rename'],
      only: ['packs/'],
      nth: 1,
    });
    if (run.signal !== 'SIGKILL' || storedRecords(root).open === 0) throw new Error(`no crashed store: ${run.stderr}`);
    this.#templates.set('crashed', { root, present: before.present });
  }
}

function backupArguments(image: Image, more: readonly string[] = []): string[] {
  return ['backup', '--group', GROUP, `${DISK}:${image.path}`, '--workers', '2', ...more];
}

/** Every path of the store that changes something, and the one that only reads. */
export const KILL_PATHS: readonly KillPath[] = [
  {
    name: 'backup in full',
    template: (world) => world.template('empty'),
    args: (world) => world.backup(1),
    judge: (scene) => judgeBackup(scene, 1, () => scene.world.backup(1)),
  },
  {
    name: 'backup with a change map',
    template: (world) => world.template('one'),
    args: (world) => world.backup(2, mapFor(world, 'one')),
    judge: (scene) => judgeBackup(scene, 2, () => scene.world.backup(2, mapFor(scene.world, 'one'))),
  },
  {
    name: 'retry of a killed backup',
    template: (world) => world.template('crashed'),
    args: (world) => world.backup(2),
    judge: (scene) => judgeBackup(scene, 2, () => scene.world.backup(2)),
  },
  {
    name: 'recovery at open',
    template: (world) => world.template('crashed'),
    args: (world) => ['snapshot', 'note', world.newest(world.template('crashed')), 'recovered'],
    judge: (scene) => judgeBackup(scene, 2, () => scene.world.backup(2)),
  },
  {
    name: 'restore',
    template: (world) => world.template('two'),
    args: (_, folder) => ['restore', `${GROUP}/latest`, DISK, join(folder, 'target'), '--workers', '2'],
    counts: 'folder',
    judge: judgeRestore,
  },
  {
    name: 'forget of the newest',
    template: (world) => world.template('small'),
    args: (world) => ['snapshot', 'forget', world.newest(world.template('small'))],
    judge: judgeForget,
  },
  {
    name: 'protect',
    template: (world) => world.template('small'),
    args: () => ['snapshot', 'protect', `${GROUP}/latest`],
    judge: (scene) => judgeChange(scene, ['snapshot', 'protect', `${GROUP}/latest`], (row) => row.protected),
  },
  {
    name: 'note',
    template: (world) => world.template('small'),
    args: () => ['snapshot', 'note', `${GROUP}/latest`, 'a note'],
    judge: (scene) =>
      judgeChange(scene, ['snapshot', 'note', `${GROUP}/latest`, 'a note'], (row) => row.notes === 'a note'),
  },
  {
    name: 'garbage collection',
    template: (world) => world.template('garbage'),
    args: () => ['datastore', 'gc', '--workers', '2'],
    judge: judgeCollection,
  },
  {
    name: 'datastore create',
    template: (world) => world.template('nothing'),
    args: () => ['datastore', 'create'],
    counts: 'folder',
    judge: judgeCreate,
  },
];

/** Kills one path as often as the plan says. Every kill and the judgement after it have their own copy of the template. */
export async function runKillPath<Known extends { readonly folder: string }>(
  world: Known,
  path: KillPath<Known>,
  plan: CrashPlan,
): Promise<PathReport> {
  const counted = await play(world, path, undefined);
  const points = spreadKillPoints(counted.calls, {
    count: plan.kills,
    seed: plan.seed,
    durationMs: counted.durationMs,
  });
  const findings: Finding[] =
    counted.error === undefined
      ? []
      : [{ path: path.name, point: 'not killed', seed: plan.seed, error: counted.error }];
  let hits = 0;
  for (const point of points) {
    const { killed, error, at } = await play(world, path, point);
    if (killed) hits++;
    if (error !== undefined)
      findings.push({ path: path.name, point: `${JSON.stringify(point)} ${at}`, seed: plan.seed, error });
  }
  const passed = points.length + 1 - findings.length;
  return {
    path: path.name,
    passed,
    findings,
    notes: `${hits} of ${points.length} kills hit, ${counted.calls.length} calls counted`,
  };
}

interface Played {
  readonly calls: readonly FaultCall[];
  readonly durationMs: number;
  readonly killed: boolean;
  /** The call before which it died. */
  readonly at: string;
  readonly error: string | undefined;
}

async function play<Known extends { readonly folder: string }>(
  world: Known,
  path: KillPath<Known>,
  point: KillPoint | undefined,
): Promise<Played> {
  const folder = mkdtempSync(join(world.folder, 'play-'));
  const root = join(folder, 'store');
  const template = path.template(world);
  if (template.root !== '') copyStore(template.root, root);
  const args = path.args(world, folder);
  try {
    const started = performance.now();
    const plan = { directory: path.counts === 'folder' ? folder : root, excludeSqlite: template.root !== '' };
    const run =
      point === undefined
        ? await holdfastWithFault(root, args, { ...plan, action: 'count' })
        : point.kind === 'timed'
          ? { ...(await holdfast(root, args, { killAfterMs: point.afterMs })), calls: [] }
          : await holdfastWithFault(root, args, { ...plan, action: point.kind, nth: point.call });
    const durationMs = performance.now() - started;
    const last = run.calls.at(-1);
    const at = last === undefined ? '' : `at ${last.op} ${last.path}`;
    const killed = run.signal === 'SIGKILL';
    let error: string | undefined;
    try {
      if (!killed && run.status !== 0) throw new Error(`not killed, but exit ${run.status}: ${run.stderr}`);
      await path.judge({ world, root, folder, present: template.present, run });
    } catch (caught) {
      error = (caught as Error).message;
    }
    return { calls: run.calls, durationMs, killed, at, error };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function mapFor(world: World, template: 'one'): string {
  const path = join(world.folder, 'map.json');
  return existsSync(path) ? path : writeChangeMap(path, world.newest(world.template(template)), DISK, world.images[1]!);
}

/** As it lies, then a retry: it continues, and nothing is left behind. */
async function judgeBackup(scene: Scene, version: number, retryArgs: () => string[]): Promise<void> {
  const { world, root, run } = scene;
  const archives = world.archives(version);
  const present = new Map(scene.present);
  const done = run.status === 0 && run.stdout.includes('bytesStored');
  if (done) present.set((JSON.parse(run.stdout) as BackupSummary).snapshot, archives);
  const listed = await world.verifier.check(root, done ? { present } : { present, maybeMade: archives });
  const madeUnseen = listed.find((row) => !present.has(row.snapshot));
  if (madeUnseen !== undefined) present.set(madeUnseen.snapshot, archives);
  await requireLatest(scene, present);

  const stored = storedRecords(root);
  if (stored.ofNobody > 0 && madeUnseen === undefined && !done) {
    throw new Error(`${stored.ofNobody} records of a session that is neither committed nor unfinished`);
  }
  const summary = jsonOf<BackupSummary>(await world.commands.run(root, retryArgs()));
  if (present.has(summary.snapshot)) throw new Error(`the retry gave ${summary.snapshot} once more`);
  if (stored.ofUnfinished > 0 && madeUnseen === undefined && !done) {
    if (summary.objectsAdopted === 0) throw new Error(`${stored.ofUnfinished} records were stored, none adopted`);
    if (summary.objectsReused === 0) throw new Error(`${stored.ofUnfinished} records were stored, none reused`);
  }
  present.set(summary.snapshot, archives);
  await world.verifier.check(root, { present });
  requireTidy(root);
}

async function judgeRestore({ world, root, folder, present, run }: Scene): Promise<void> {
  const target = join(folder, 'target');
  const version = world.images[1]!.path;
  if (run.status === 0 && !sameBytes(target, version)) throw new Error('reported as restored, but it differs');
  await world.verifier.check(root, { present });
  requireTidy(root);
  jsonOf(await world.commands.run(root, ['restore', `${GROUP}/latest`, DISK, target, '--overwrite']));
  if (!sameBytes(target, version)) throw new Error('the repeated restore differs');
}

async function judgeForget(scene: Scene): Promise<void> {
  const { world, root, run } = scene;
  const newest = world.newest({ root, present: scene.present });
  const rest = new Map([...scene.present].filter(([name]) => name !== newest));
  const acknowledged = run.status === 0;
  const expected: Expected = acknowledged
    ? { present: rest, forgotten: [newest] }
    : { present: scene.present, maybeForgotten: [newest] };
  const listed = await world.verifier.check(root, expected);
  const gone = !listed.some((row) => row.snapshot === newest);
  await requireLatest(scene, gone ? rest : scene.present);
  const again = await world.commands.run(root, ['snapshot', 'forget', newest]);
  if (gone ? errorOf(again).code !== 'not-found' : again.status !== 0)
    throw new Error(`forget again: exit ${again.status} ${again.stderr}`);
  await world.verifier.check(root, { present: rest, forgotten: [newest] });
  await requireLatest(scene, rest);
  const summary = jsonOf<BackupSummary>(await world.commands.run(root, world.smallBackup()));
  if (summary.sequence !== scene.present.size + 1) throw new Error(`sequence ${summary.sequence} after a forget`);
  requireTidy(root);
}

/** Whatever was moved or dropped: what is left restores, and the next collection frees the rest. */
async function judgeCollection({ world, root, present }: Scene): Promise<void> {
  await world.verifier.check(root, { present });
  const gc = async (...options: string[]): Promise<GcReport> =>
    jsonOf<GcReport>(await world.commands.run(root, ['datastore', 'gc', '--workers', '2', ...options]));
  const { auditedObjects, objectsLost } = await gc('--audit');
  if (auditedObjects === 0 || objectsLost !== 0) throw new Error(`audit: ${auditedObjects} read, ${objectsLost} lost`);
  const { bytesDead, bytesLive } = await gc('--dry-run');
  if (bytesDead > bytesLive / 20) throw new Error(`${bytesDead} bytes of garbage stay`);
  await world.verifier.check(root, { present });
  requireTidy(root);
}

async function judgeChange(
  { world, root, present, run }: Scene,
  args: string[],
  isDone: (row: ListedSnapshot) => boolean,
): Promise<void> {
  const newest = world.newest({ root, present });
  const find = (rows: readonly ListedSnapshot[]) => rows.find((row) => row.snapshot === newest)!;
  const listed = await world.verifier.check(root, { present });
  if (run.status === 0 && !isDone(find(listed))) throw new Error('acknowledged, but it is not there');
  jsonOf(await world.commands.run(root, args));
  if (!isDone(find(await world.verifier.check(root, { present })))) throw new Error('the repeated change is not there');
  requireTidy(root);
}

async function judgeCreate({ world, root, run }: Scene): Promise<void> {
  const again = await world.commands.run(root, ['datastore', 'create']);
  if (
    run.status === 0
      ? errorOf(again).code !== 'exists'
      : again.status !== 0 && !existsSync(join(root, 'datastore.json'))
  ) {
    throw new Error(`create again: exit ${again.status} ${again.stderr}`);
  }
  const summary = jsonOf<BackupSummary>(await world.commands.run(root, world.backup(1)));
  await world.verifier.check(root, { present: new Map([[summary.snapshot, world.archives(1)]]) });
  requireTidy(root);
}

/** `latest` is the newest snapshot that exists, whatever a crash left beside it. */
async function requireLatest({ world, root }: Scene, present: ReadonlyMap<string, Archives>): Promise<void> {
  const newest = world.newest({ root, present });
  const latest = await world.verifier.latest(root, GROUP);
  if (latest !== newest) throw new Error(`latest is ${latest}, not ${newest}`);
}

function requireTidy(root: string): void {
  const left = residue(root);
  if (left.length > 0) throw new Error(`left behind: ${left.join(' ')}`);
}
