// What is recorded on the disk that loses its power, and what must hold after each cut. A recording knows, for each mark, what had been
// acknowledged by then and what was under way; a cut between two marks is judged by both.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BackupSummary, errorOf, holdfast, holdfastWithFault, jsonOf } from '../support/crash/cli.ts';
import { CommandProcess } from '../support/crash/command-process.ts';
import { type Image, writeChangeMap, writeVersions } from '../support/crash/images.ts';
import type { CrashPlan, Finding, PathReport } from '../support/crash/plan.ts';
import { type Archives, Verifier } from '../support/crash/verifier.ts';
import type { CrashPoint } from '../support/power-cut/crash-points.ts';
import { Replay, type ReplayReport } from '../support/power-cut/replay.ts';
import { PowerCutRig } from '../support/power-cut/rig.ts';

const MIB = 1 << 20;
const DISK_BYTES = 128 * MIB;
const IMAGE_BYTES = 20 * MIB;
const DISK = 'disk0.img';
const SHARED_SESSIONS = fileURLToPath(new URL('shared-sessions.ts', import.meta.url));

/** What is known at a mark: acknowledged, and under way until the next one. */
interface State {
  readonly created: boolean;
  readonly present: ReadonlyMap<string, Archives>;
  readonly forgotten: readonly string[];
  readonly underWay: { readonly maybeMade?: Archives; readonly maybeForgotten?: readonly string[] };
}

const NOTHING: State = { created: false, present: new Map(), forgotten: [], underWay: {} };

/** A rig with a store on it and the states of its marks. */
class Recorder {
  readonly rig: PowerCutRig;
  readonly states: State[];
  /** Objects that backups took over from killed ones. */
  adopted = 0;

  constructor(rig: PowerCutRig, first: State) {
    this.rig = rig;
    this.states = [first];
  }

  get root(): string {
    return join(this.rig.mountPath, 'store');
  }

  get now(): State {
    return this.states.at(-1)!;
  }

  /** Says what the next command may do before it is acknowledged. */
  begin(underWay: State['underWay']): void {
    this.states[this.states.length - 1] = { ...this.now, underWay };
  }

  /** The command was acknowledged: a mark with the new state. */
  acknowledge(change: Partial<State>): void {
    this.states.push({ ...this.now, underWay: {}, ...change });
    this.rig.mark(this.states.length - 1);
  }

  async create(): Promise<void> {
    jsonOf(await holdfast(this.root, ['datastore', 'create']));
    this.acknowledge({ created: true });
  }

  async backup(image: Image, more: readonly string[] = []): Promise<string> {
    const archives = { [DISK]: image.path };
    this.begin({ maybeMade: archives });
    const { snapshot, objectsAdopted } = jsonOf<BackupSummary>(await holdfast(this.root, backupArguments(image, more)));
    this.adopted += objectsAdopted;
    this.acknowledge({ present: new Map([...this.now.present, [snapshot, archives]]) });
    return snapshot;
  }

  /** Until its first pack is about to be sealed: open packs and a session file stay. */
  async killedBackup(image: Image): Promise<void> {
    this.begin({ maybeMade: { [DISK]: image.path } });
    const plan = { action: 'kill', ops: ['rename'], only: ['packs/'] } as const;
    const run = await holdfastWithFault(this.root, backupArguments(image), plan);
    if (run.signal !== 'SIGKILL') throw new Error(`not killed: ${run.stderr}`);
  }

  async note(snapshot: string, text: string): Promise<void> {
    jsonOf(await holdfast(this.root, ['snapshot', 'note', snapshot, text]));
    this.acknowledge({ underWay: this.now.underWay });
  }

  async collect(): Promise<void> {
    jsonOf(await holdfast(this.root, ['datastore', 'gc', '--workers', '2']));
    this.acknowledge({ underWay: this.now.underWay });
  }

  async forget(snapshot: string): Promise<void> {
    this.begin({ maybeForgotten: [snapshot] });
    jsonOf(await holdfast(this.root, ['snapshot', 'forget', snapshot]));
    const present = new Map([...this.now.present].filter(([name]) => name !== snapshot));
    this.acknowledge({ present, forgotten: [...this.now.forgotten, snapshot] });
  }
}

const backupArguments = (image: Image, more: readonly string[] = []): string[] => [
  'backup',
  '--group',
  'vm/101',
  `${DISK}:${image.path}`,
  '--workers',
  '2',
  ...more,
];

interface Track {
  readonly name: string;
  record(lab: PowerCutLab, recorder: Recorder): Promise<void>;
  /** A backup that was cut short and is repeated after each cut. */
  readonly retry?: (lab: PowerCutLab) => string[];
}

const TRACKS: readonly Track[] = [
  {
    name: 'create, full, incremental, note, forget, full again',
    async record(lab, recorder) {
      await recorder.create();
      const first = await recorder.backup(lab.images[0]!);
      const map = writeChangeMap(join(lab.folder, 'map.json'), first, DISK, lab.images[1]!);
      const second = await recorder.backup(lab.images[1]!, ['--changed-since', map]);
      await recorder.note(second, 'a note');
      await recorder.forget(first);
      await recorder.backup(lab.images[2]!);
      await recorder.forget(second);
    },
  },
  {
    name: 'forget, garbage collection, backup of what it moved and freed, collection of a killed backup',
    async record(lab, recorder) {
      await recorder.create();
      const first = await recorder.backup(lab.images[0]!);
      const second = await recorder.backup(lab.images[1]!);
      await recorder.forget(first);
      await recorder.collect();
      await recorder.backup(lab.images[0]!);
      await recorder.killedBackup(lab.images[2]!);
      await recorder.forget(second);
      await recorder.collect();
    },
  },
  {
    name: 'killed backup, recovery, killed again, retry',
    async record(lab, recorder) {
      await recorder.create();
      const first = await recorder.backup(lab.images[0]!);
      await recorder.killedBackup(lab.images[1]!);
      await recorder.note(first, 'recovered');
      await recorder.killedBackup(lab.images[1]!);
      await recorder.backup(lab.images[1]!);
    },
  },
  {
    name: 'sessions that share records, one of them unfinished',
    async record(lab, recorder) {
      await recorder.create();
      const acknowledged = join(lab.folder, 'acknowledged');
      writeFileSync(acknowledged, '');
      const paths = lab.images.map((image) => image.path);
      recorder.begin({ maybeMade: { [DISK]: paths[0]! } });
      const argument = {
        root: recorder.root,
        images: paths,
        acknowledged,
        mark: recorder.rig.markTarget,
        firstMark: 2,
      };
      const child = spawn(process.execPath, ['--import', 'tsx', SHARED_SESSIONS, JSON.stringify(argument)], {
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      const [, signal] = (await once(child, 'exit')) as [number, NodeJS.Signals | null];
      if (signal !== 'SIGKILL') throw new Error('the scenario with shared sessions failed');
      const lines = readFileSync(acknowledged, 'utf8').trimEnd().split('\n');
      for (const [place, line] of lines.entries()) {
        const { snapshot, image } = JSON.parse(line) as { snapshot: string; image: string };
        const next = lines[place + 1];
        recorder.states.push({
          ...recorder.now,
          present: new Map([...recorder.now.present, [snapshot, { [DISK]: image }]]),
          underWay: next === undefined ? {} : { maybeMade: { [DISK]: (JSON.parse(next) as { image: string }).image } },
        });
      }
    },
    retry: (lab) => ['backup', '--group', 'vm/10', `${DISK}:${lab.images[0]!.path}`, '--workers', '2'],
  },
];

const SECOND_CUT = 'recovery that is cut again';
export const POWER_CUT_PATHS: readonly string[] = [...TRACKS.map((track) => track.name), SECOND_CUT];

/** Images and the verifier that all paths share. */
export class PowerCutLab {
  readonly folder = mkdtempSync(join(tmpdir(), 'hf-cut-'));
  readonly images: readonly Image[];
  readonly #verifier = new Verifier();
  readonly #commands = new CommandProcess();
  readonly #probe = join(this.folder, 'probe.conf');
  #adopted = 0;

  constructor(seed: number) {
    this.images = writeVersions(this.folder, 'disk', { sizeBytes: IMAGE_BYTES, versions: 3, seed, share: 0.2 });
    writeFileSync(this.#probe, 'a small file\n');
  }

  async close(): Promise<void> {
    await this.#verifier.close();
    await this.#commands.close();
    rmSync(this.folder, { recursive: true });
  }

  /** Records a path and cuts the power as often as the plan says, in both modes. */
  async run(name: string, plan: CrashPlan): Promise<PathReport> {
    if (name === SECOND_CUT) return await this.#runSecondCuts(plan);
    const track = TRACKS.find((each) => each.name === name)!;
    const recorder = new Recorder(PowerCutRig.create({ sizeBytes: DISK_BYTES }), NOTHING);
    try {
      await track.record(this, recorder);
      const replay = new Replay(recorder.rig.finish());
      try {
        const points = pointsOf(replay, plan.cuts, plan.seed);
        const report = await replay.check(points, (mount, mark) =>
          this.#judge(mount, recorder.states[mark]!, track.retry?.(this)),
        );
        return reportOf(name, plan.seed, [report]);
      } finally {
        replay.close();
      }
    } finally {
      recorder.rig.dispose();
    }
  }

  /** Cuts a backup, lets the next command recover and a retry follow, and cuts that again. */
  async #runSecondCuts(plan: CrashPlan): Promise<PathReport> {
    const firstCuts = Math.max(1, Math.round(plan.cuts / 10));
    const recorder = new Recorder(PowerCutRig.create({ sizeBytes: DISK_BYTES }), NOTHING);
    const reports: ReplayReport[] = [];
    try {
      await recorder.create();
      await recorder.backup(this.images[0]!);
      await recorder.killedBackup(this.images[1]!);
      const replay = new Replay(recorder.rig.finish());
      try {
        const points = latePoints(replay, firstCuts, plan.seed);
        const first = await replay.checkImages(points, async (image, mark) => {
          reports.push(
            await this.#cutRecovery(image, recorder.states[mark]!, Math.round(plan.cuts / firstCuts), plan.seed),
          );
        });
        if (this.#adopted === 0) throw new Error('no first cut left records to recover: nothing was tested');
        return reportOf(SECOND_CUT, plan.seed, [first, ...reports]);
      } finally {
        replay.close();
      }
    } finally {
      recorder.rig.dispose();
    }
  }

  async #cutRecovery(image: string, state: State, cuts: number, seed: number): Promise<ReplayReport> {
    const recorder = new Recorder(PowerCutRig.fromImage(image), state);
    try {
      const [first] = [...state.present.keys()];
      await recorder.note(first!, 'recovered');
      await recorder.backup(this.images[1]!);
      this.#adopted += recorder.adopted;
      const replay = new Replay(recorder.rig.finish());
      try {
        return await replay.check(pointsOf(replay, cuts, seed), (mount, mark) =>
          this.#judge(mount, recorder.states[mark]!),
        );
      } finally {
        replay.close();
      }
    } finally {
      recorder.rig.dispose();
    }
  }

  /** The store opens by itself, a backup works, and what is listed is what may be listed. */
  async #judge(mount: string, state: State, retry?: readonly string[]): Promise<void> {
    const root = join(mount, 'store');
    if (!state.created) {
      const create = await this.#commands.run(root, ['datastore', 'create']);
      if (create.status !== 0 && errorOf(create).code !== 'exists') throw new Error(`create again: ${create.stderr}`);
    }
    const { snapshot } = jsonOf<BackupSummary>(
      await this.#commands.run(root, ['backup', '--group', 'host/probe', `probe.conf:${this.#probe}`]),
    );
    const present = new Map([...state.present, [snapshot, { 'probe.conf': this.#probe }]]);
    const listed = await this.#verifier.check(root, { present, forgotten: state.forgotten, ...state.underWay });
    requireRecovered(root);
    if (retry === undefined) return;
    const summary = jsonOf<BackupSummary>(await this.#commands.run(root, retry));
    const whole = new Map(listed.map((row) => [row.snapshot, present.get(row.snapshot) ?? state.underWay.maybeMade!]));
    await this.#verifier.check(root, {
      present: new Map([...whole, [summary.snapshot, { [DISK]: this.images[0]!.path }]]),
    });
    const left = readdirSync(join(root, 'sessions')).filter(
      (name) => groupOf(join(root, 'sessions', name)) === retry[2],
    );
    if (left.length > 0) throw new Error(`a session file outlives the retry: ${left.join(' ')}`);
  }
}

/** The group of a session file; other groups may have unfinished sessions of their own. */
function groupOf(path: string): string {
  return (JSON.parse(readFileSync(path, 'utf8')) as { group: string }).group;
}

function requireRecovered(root: string): void {
  const open = readdirSync(join(root, 'packs')).filter((name) => !name.endsWith('.pack'));
  const left = [...open, ...readdirSync(join(root, 'condemned'))];
  if (left.length > 0) throw new Error(`left after the recovery: ${left.join(' ')}`);
}

/** A third of the points with every write before the cut on the disk, the others with a volatile cache. */
function pointsOf(replay: Replay, cuts: number, seed: number): CrashPoint[] {
  const prefix = Math.floor(cuts / 3);
  return [
    ...replay.crashPoints({ mode: 'prefix', count: prefix, seed }),
    ...replay.crashPoints({ mode: 'cache', count: cuts - prefix, seed: seed + 1 }),
  ];
}

/** Points in the last part of the recording, where a backup was writing. */
function latePoints(replay: Replay, count: number, seed: number): CrashPoint[] {
  const lastMark = replay.log.entries.reduce((last, entry, place) => (entry.mark === undefined ? last : place), 0);
  const points = replay
    .crashPoints({ mode: 'cache', count: 1_000_000, seed })
    .filter((point) => point.entry > lastMark + 1);
  return Array.from(
    { length: Math.min(count, points.length) },
    (_, at) => points[Math.floor(((at + 1) * points.length) / count) - 1]!,
  );
}

function reportOf(path: string, seed: number, reports: readonly ReplayReport[]): PathReport {
  const findings = reports.flatMap((report) =>
    report.bad.map(({ point, lastMark, error }): Finding => {
      const words = error instanceof Error ? error.message : String(error);
      return { path, point: `${JSON.stringify(point)} after mark ${lastMark}`, seed, error: words.slice(0, 600) };
    }),
  );
  const points = reports.reduce((sum, report) => sum + report.points, 0);
  const ms = reports.reduce((sum, report) => sum + report.msPerPoint * report.points, 0) / Math.max(1, points);
  return { path, passed: points - findings.length, findings, notes: `${points} cuts, ${ms.toFixed(0)} ms each` };
}
