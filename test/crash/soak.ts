// npm run soak: many kills and many power cuts on every path, everything at once in random interleavings, and attacks on the server. Usage: tsx test/crash/soak.ts [--seed N] [--minutes M] [--path PART]
// Rounds with rising seeds until the minutes are over (without: one round). The seed of a finding shows it again.
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { fuzzTar } from '../agent/tar/fuzz-tar.ts';
import { skipWithoutBuild } from '../support/crash/cli.ts';
import { type Finding, type PathReport, soakPlan } from '../support/crash/plan.ts';
import { skipFaults } from '../support/faults/faults.ts';
import { nodeQemuOf, qemu10, qemuBuilds } from '../support/guests/qemu-builds.ts';
import { reasonToSkipGuest } from '../support/guests/test-guest.ts';
import { skipPowerCut } from '../support/power-cut/rig.ts';
import { leftovers } from '../support/power-cut/scratch.ts';
import { fuzzDecoders } from './decoder-fuzz.ts';
import { runInterleaving } from './interleavings.ts';
import { KILL_PATHS, runKillPath, World } from './kill-paths.ts';
import { POWER_CUT_PATHS, PowerCutLab } from './power-cut-paths.ts';
import { runVmIncrementals, runVmKills, VmKillLab } from './vm-kills.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    minutes: { type: 'string' },
    path: { type: 'string', default: '' },
    /** For a short look: this part of the 200 kills and 300 cuts. */
    scale: { type: 'string', default: '1' },
  },
});
const firstSeed = values.seed === undefined ? Math.floor(Math.random() * 1_000_000) : Number(values.seed);
const deadline = performance.now() + Number(values.minutes ?? 0) * 60_000;
/** Runs of everything at once in a round, and their length. */
const INTERLEAVINGS = 30;
const INTERLEAVING_STEPS = 1000;
/** Mutated tar archives of a round: minutes. */
const FUZZED_ARCHIVES = 100_000;
/** Inputs for each decoder in a round: about ten minutes. */
const FUZZ_INPUTS = 8_000_000;
/** For each file of attacks in a round. */
const ATTACK_SECONDS = 600;
const ATTACK_FILES = ['test/api/fuzz.test.ts', 'test/transport/server/record-stream-fuzz.test.ts'];
/** Of a round, on each QEMU: half an hour together. */
const VM_INCREMENTALS = 60;
const VM_KILLS = 50;
const isWanted = (name: string): boolean => name.includes(values.path);

let passed = 0;
let failed = 0;

function take(kind: string, report: PathReport): void {
  passed += report.passed;
  failed += report.findings.length;
  console.log(`${kind} ${report.path}: ${report.passed} passed, ${report.findings.length} failed (${report.notes})`);
  for (const { path, point, seed, error } of report.findings) {
    console.log(`FAILED seed ${seed} ${kind} ${path}: ${point}: ${error.replaceAll('\n', ' ')}`);
  }
}

async function kills(seed: number, scale: number): Promise<void> {
  const reason = skipWithoutBuild() || skipFaults();
  if (reason !== false) return console.log(`skipped all kills: ${reason}`);
  const world = await World.create(seed);
  try {
    const plan = soakPlan(seed, scale);
    for (const path of KILL_PATHS) if (isWanted(path.name)) take('kill', await runKillPath(world, path, plan));
  } finally {
    await world.close();
  }
}

/** Of running guests' backups: incrementals in a row, then kills, on each QEMU that is there. */
async function guests(seed: number, scale: number): Promise<void> {
  for (const build of qemuBuilds) {
    const path = `vm backup on ${build.name}`;
    if (!isWanted(path)) continue;
    const reason = skipWithoutBuild() || build.skip || (await reasonToSkipGuest('mkfs.ext4'));
    if (reason !== false) {
      console.log(`skipped ${path}: ${reason}`);
      continue;
    }
    const lab = await VmKillLab.create(173, build === qemu10 ? nodeQemuOf(build) : undefined);
    try {
      take('incrementals', { ...(await runVmIncrementals(lab, Math.ceil(VM_INCREMENTALS * scale), seed)), path });
      take('kill', { ...(await runVmKills(lab, Math.ceil(VM_KILLS * scale), seed)), path });
    } finally {
      await lab.close();
    }
  }
}

async function cuts(seed: number, scale: number): Promise<void> {
  const reason = skipWithoutBuild() || skipFaults() || skipPowerCut();
  if (reason !== false) return console.log(`skipped all power cuts: ${reason}`);
  const lab = new PowerCutLab(seed);
  try {
    for (const name of POWER_CUT_PATHS) if (isWanted(name)) take('cut', await lab.run(name, soakPlan(seed, scale)));
  } finally {
    await lab.close();
  }
}

/** Everything at once, without and with damage. */
async function interleavings(seed: number, scale: number): Promise<void> {
  const reason = skipWithoutBuild();
  if (reason !== false) return console.log(`skipped all interleavings: ${reason}`);
  for (const damages of [false, true]) {
    const path = `everything at once${damages ? ', with damage' : ''}`;
    if (!isWanted(path)) continue;
    const findings: Finding[] = [];
    const runs = Math.ceil(INTERLEAVINGS * scale);
    const done = new Map<string, number>();
    for (let run = 0; run < runs; run++) {
      try {
        const report = await runInterleaving({ seed: seed * 1000 + run, steps: INTERLEAVING_STEPS, damages });
        for (const [what, times] of Object.entries(report.done)) done.set(what, (done.get(what) ?? 0) + times);
      } catch (error) {
        findings.push({ path, point: `run ${seed * 1000 + run}`, seed, error: (error as Error).message });
      }
    }
    const notes = [...done].map(([what, times]) => `${what} ${times}`).join(', ');
    take('interleaving', { path, passed: runs - findings.length, findings, notes });
  }
}

/** Their own seeds begin at a million times that of the round. */
async function tarArchives(seed: number, scale: number): Promise<void> {
  const path = 'mutated tar archives';
  if (!isWanted(path)) return;
  const archives = Math.ceil(FUZZED_ARCHIVES * scale);
  try {
    const { taken, refused } = await fuzzTar(seed * 1_000_000, archives);
    take('fuzz', { path, passed: archives, findings: [], notes: `${taken} taken, ${refused} refused` });
  } catch (error) {
    take('fuzz', {
      path,
      passed: 0,
      findings: [{ path, point: 'reader', seed, error: (error as Error).message }],
      notes: '',
    });
  }
}

/** Mutated bytes for the decoders. */
function fuzz(seed: number, scale: number): void {
  const path = 'decoders';
  if (!isWanted(path)) return;
  const { taken, refused, findings } = fuzzDecoders(seed, Math.ceil(FUZZ_INPUTS * scale));
  const found = findings.map(
    ({ decoder, input, error }): Finding => ({ path, point: `${decoder} ${input}`, seed, error }),
  );
  take('fuzz', { path, passed: taken + refused - found.length, findings: found, notes: `${taken} taken` });
}

/** The server's attackers: wrong calls of every method of the API, and mutated streams of records. */
function attacks(seed: number, scale: number): void {
  for (const file of ATTACK_FILES) {
    if (!isWanted(file)) continue;
    const seconds = Math.ceil(ATTACK_SECONDS * scale);
    const env = { ...process.env, HOLDFAST_FUZZ_SEED: String(seed), HOLDFAST_FUZZ_SECONDS: String(seconds) };
    const run = spawnSync(process.execPath, ['scripts/run-tests.mjs', file], { env, encoding: 'utf8' });
    const error = `${run.stdout}${run.stderr}`.slice(-2000);
    const findings = run.status === 0 ? [] : [{ path: file, point: 'server', seed, error }];
    take('attack', { path: file, passed: 1 - findings.length, findings, notes: `${seconds} s` });
  }
}

for (let seed = firstSeed; seed === firstSeed || performance.now() < deadline; seed++) {
  console.log(`seed ${seed}`);
  await kills(seed, Number(values.scale));
  await guests(seed, Number(values.scale));
  await cuts(seed, Number(values.scale));
  await interleavings(seed, Number(values.scale));
  await tarArchives(seed, Number(values.scale));
  fuzz(seed, Number(values.scale));
  attacks(seed, Number(values.scale));
}
const left = leftovers();
for (const each of left) console.log(`FAILED left behind: ${each}`);
failed += left.length;
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
