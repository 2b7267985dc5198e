// Control groups of guests, in the trees of this machine's kernel where it has them writable. Version 2 with a processor's limits and
// systemd are checked by what would be written and run where the machine has neither.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type ControlGroup, type ControlLimits, openControlGroup } from '../../../src/guests/qemu/control-group.ts';
import { scopeCommand } from '../../../src/guests/qemu/systemd-scope.ts';
import { parseGuestId } from '../../../src/schema/guest-names.ts';
import { bundle } from '../../util/bundle.ts';

const ROOT = '/sys/fs/cgroup';
// Far away from any guest of this machine, and from other runs of this test.
const vmid = parseGuestId(900_000_000 + (process.pid % 90_000_000));

function writable(root: string): string | false {
  const probe = join(root, `holdfast-probe-${process.pid}`);
  try {
    mkdirSync(probe);
    rmdirSync(probe);
    return false;
  } catch (error) {
    return `no control group can be made in ${root}: ${(error as Error).message}`;
  }
}

const isV2 = existsSync(join(ROOT, 'cgroup.controllers'));
const noV1 = isV2 ? 'this machine has version 2 only' : writable(join(ROOT, 'cpu'));
const v2Root = isV2 ? ROOT : join(ROOT, 'unified');
const noV2 = writable(v2Root);

const children: ChildProcess[] = [];
const scratch = mkdtempSync(join(tmpdir(), 'hft-cgroup-'));
after(() => {
  for (const child of children) child.kill('SIGKILL');
  // Where no guest of this machine has its group.
  for (const tree of ['.', 'unified', 'cpu', 'memory'])
    spawnSync('rmdir', ['--ignore-fail-on-non-empty', join(ROOT, tree, 'holdfast')], { stdio: 'ignore' });
  rmSync(scratch, { recursive: true, force: true });
});

function start(group: ControlGroup, ...command: string[]): ChildProcess {
  const [program = '', ...args] = [...group.argvPrefix, ...command];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  return child;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let waited = 0; !(await holds()); waited += 10) {
    assert.ok(waited < 5000, 'it never became so');
    await sleep(10);
  }
}

for (const [version, root, reason] of [
  ["this machine's layout", ROOT, isV2 ? noV2 : noV1],
  ['version 2', v2Root, noV2],
] as const)
  test(`processes of a group are found by another and ended, also those that daemons left (${version})`, {
    skip: reason,
  }, async () => {
    const group = await openControlGroup(vmid, {}, { root, systemd: false });
    try {
      assert.deepEqual(await group.pids(), []);
      // A process that leaves its parent and its session, as QEMU does with -daemonize.
      const child = start(group, 'sh', '-c', 'setsid sleep 1000 & exec sleep 1000');
      await until(async () => (await group.pids()).length === 2);
      const again = await openControlGroup(vmid, {}, { root, systemd: false });
      assert.ok((await again.pids()).includes(child.pid!));
      await assert.rejects(again.remove(), { code: 'guest-running' });
      await again.kill();
      assert.deepEqual(await group.pids(), []);
      assert.ok(child.signalCode === 'SIGKILL' || (await once(child, 'exit'))[1] === 'SIGKILL');
      await again.kill();
    } finally {
      await group.kill();
      await group.remove();
    }
    await group.remove();
    assert.equal(existsSync(join(v2Root, 'holdfast', `vm-${vmid}`)), false);
    if (!isV2)
      for (const tree of readdirSync(ROOT))
        assert.equal(existsSync(join(ROOT, tree, 'holdfast', `vm-${vmid}`)), false, tree);
  });

test('the end of who made a group does not reach what is in it', { skip: isV2 ? noV2 : noV1 }, async (t) => {
  const program = await bundle(
    t,
    `import { spawn } from 'node:child_process';
     import { openControlGroup } from './guests/qemu/control-group.ts';
     const group = await openControlGroup(${vmid}, {}, { systemd: false });
     const [command, ...args] = [...group.argvPrefix, 'sh', '-c', 'setsid sleep 1000 & echo started'];
     spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'] });
     setInterval(() => {}, 1000);`,
  );
  const maker = spawn(process.execPath, [fileURLToPath(program)], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(maker);
  await once(maker.stdout!, 'data');
  maker.kill('SIGKILL');
  await once(maker, 'exit');
  const group = await openControlGroup(vmid, {}, { systemd: false });
  try {
    assert.equal((await group.pids()).length, 1);
  } finally {
    await group.kill();
    await group.remove();
  }
});

test('a quarter of a processor is a quarter of a processor', { skip: noV1 }, async () => {
  const group = await openControlGroup(vmid, { cpulimit: 0.25, cpuunits: 512 }, { systemd: false });
  try {
    const busy = start(group, 'sh', '-c', 'while :; do :; done');
    await until(async () => (await group.pids()).length === 1);
    const ticks = () =>
      readFileSync(`/proc/${busy.pid}/stat`, 'utf8')
        .split(') ')[1]!
        .split(' ')
        .slice(11, 13)
        .reduce((sum, each) => sum + Number(each), 0);
    const [ticksBefore, before] = [ticks(), Date.now()];
    await sleep(1500);
    const share = (ticks() - ticksBefore) / 100 / ((Date.now() - before) / 1000);
    assert.ok(share < 0.4, `took ${share.toFixed(2)} of a processor`);
    const read = (file: string) => readFileSync(join(ROOT, 'cpu/holdfast', `vm-${vmid}`, file), 'utf8').trim();
    assert.deepEqual(
      [read('cpu.cfs_quota_us'), read('cpu.cfs_period_us'), read('cpu.shares')],
      ['25000', '100000', '512'],
    );
    await openControlGroup(vmid, {}, { systemd: false });
    assert.deepEqual([read('cpu.cfs_quota_us'), read('cpu.shares')], ['-1', '1024'], 'a limit that is taken away');
  } finally {
    await group.kill();
    await group.remove();
  }
});

test('a memory limit of version 1 holds', { skip: noV1 || writable(join(ROOT, 'memory')) }, async () => {
  const group = await openControlGroup(vmid, { memoryMaxBytes: 32 << 20 }, { systemd: false });
  try {
    const path = join(ROOT, 'memory/holdfast', `vm-${vmid}`, 'memory.limit_in_bytes');
    assert.equal(readFileSync(path, 'utf8').trim(), String(32 << 20));
    const child = start(group, 'perl', '-e', '$x = "x" x (200 << 20); print "all of it\n"');
    const [status, signal] = (await once(child, 'exit')) as [number | null, string | null];
    assert.deepEqual([status, signal], [null, 'SIGKILL']);
  } finally {
    await group.kill();
    await group.remove();
  }
});

test('version 2: what is written', async () => {
  const root = mkdtempSync(join(scratch, 'v2-'));
  writeFileSync(join(root, 'cgroup.controllers'), 'cpu memory\n');
  const written = async (limits: ControlLimits) => {
    const { argvPrefix } = await openControlGroup(parseGuestId(101), limits, { root, systemd: false });
    assert.equal(argvPrefix.at(-1), join(root, 'holdfast/vm-101/cgroup.procs'));
    return (file: string) => readFileSync(join(root, 'holdfast/vm-101', file), 'utf8');
  };
  let read = await written({ cpulimit: 1.5, cpuunits: 50_000, memoryMaxBytes: 1 << 30 });
  assert.deepEqual([read('cpu.max'), read('cpu.weight'), read('memory.max')], ['150000 100000', '10000', '1073741824']);
  read = await written({ cpulimit: 0, memoryMaxBytes: 1 << 30 });
  assert.deepEqual([read('cpu.max'), read('cpu.weight')], ['max 100000', '100']);
  read = await written({ cpulimit: 0.001 });
  assert.equal(read('cpu.max'), '1000 100000');
});

test('limits that the kernel does not take are said', {
  skip: noV2 || (isV2 && 'this machine may have them all'),
}, async () => {
  const group = await openControlGroup(vmid, { cpulimit: 2, cpuunits: 200 }, { root: v2Root, systemd: false });
  await group.remove();
  assert.match(group.describe, /cpu\.max = 200000 100000 does not hold \(E\w+\); cpu\.weight = 200 does not hold/);
});

test('no control groups: the command runs as it is, and it is said', async () => {
  for (const root of [join(scratch, 'none'), '/proc/self/fdinfo']) {
    const group = await openControlGroup(vmid, { cpulimit: 1 }, { root, systemd: false });
    assert.deepEqual([group.argvPrefix, await group.pids()], [[], []]);
    assert.match(group.describe, /^no control group, and no limits: (E|no limits of cpu)/);
    await group.kill();
    await group.remove();
  }
});

test('nothing of a command is part of the script', { skip: isV2 ? noV2 : noV1 }, async () => {
  const group = await openControlGroup(vmid, {}, { systemd: false });
  const words = ['$(touch /tmp/never)', "'", '"; exit 1', '', '-n', '*', 'a b\nc'];
  const [program = '', ...args] = [
    ...group.argvPrefix,
    process.execPath,
    '-e',
    'console.log(JSON.stringify(process.argv.slice(1)))',
    '--',
    ...words,
  ];
  try {
    assert.deepEqual(JSON.parse(execFileSync(program, args, { encoding: 'utf8' })), words);
  } finally {
    await group.remove();
  }
});

test('a group that is gone: the command does not start without its limits', { skip: isV2 ? noV2 : noV1 }, async () => {
  const group = await openControlGroup(vmid, {}, { systemd: false });
  await group.remove();
  const [program = '', ...args] = [...group.argvPrefix, 'echo', 'started'];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  assert.deepEqual(await once(child, 'exit'), [125, null]);
});

test('limits that make no sense are refused', async () => {
  for (const wrong of [
    { cpulimit: -1 },
    { cpulimit: 129 },
    { cpulimit: Number.NaN },
    { cpuunits: 0 },
    { cpuunits: 1.5 },
    { cpuunits: 262_145 },
    { memoryMaxBytes: 0 },
  ])
    await assert.rejects(
      openControlGroup(vmid, wrong, { root: scratch, systemd: false }),
      { code: 'bad-argument' },
      JSON.stringify(wrong),
    );
});

test('systemd is asked for a scope', async () => {
  assert.deepEqual(scopeCommand('holdfast-vm-101', { cpulimit: 1.5, cpuunits: 200, memoryMaxBytes: 4096 }), [
    'systemd-run',
    '--scope',
    '--quiet',
    '--collect',
    '--unit=holdfast-vm-101',
    '--slice=holdfast.slice',
    ...['-p', 'CPUQuota=150%', '-p', 'CPUWeight=200', '-p', 'MemoryMax=4096'],
    '--',
  ]);
  const { argvPrefix, describe } = await openControlGroup(
    parseGuestId(101),
    { cpulimit: 0, cpuunits: 50_000 },
    { systemd: true },
  );
  assert.deepEqual(argvPrefix.slice(-3), ['-p', 'CPUWeight=10000', '--']);
  assert.equal(describe, "systemd's holdfast-vm-101.scope");
});
