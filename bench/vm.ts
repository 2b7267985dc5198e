// What does the backup of a running virtual machine cost, it and its guest? The guest is that of the tests: a real kernel under QEMU, on real files.
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { startVm } from '../src/guests/vm/start.ts';
import { parseGuestId } from '../src/schema/guest-names.ts';
import type { GuestPort } from '../test/support/guests/guest-port.ts';
import { writtenBlocks } from '../test/support/guests/test-blocks.ts';
import { reasonToSkipGuest } from '../test/support/guests/test-guest.ts';
import { KeptReport, TestNode } from '../test/support/guests/vm-node.ts';
import { type Contender, extra, type Row, race, ratio, wall } from './contender.ts';
import { backup, backupVm, createStore, holdfastMissing, readBackup } from './holdfast.ts';
import { measure } from './measure.ts';
import { type Answer, answerInParts, atMost, type Context, type Question } from './question.ts';
import { runPlain } from './stores.ts';
import { liveRestores } from './vm-restore.ts';

const MIB = 1 << 20;
const GIB = 1 << 30;
const ID = parseGuestId(101);
/** What the guest writes between two backups, in pieces of a MiB, far apart. */
const DIRTY_PIECES = 200;
const IDLE_RUNS = 5;
/** Seconds for which the writes of a guest without a backup are timed. */
const QUIET_SECONDS = 10;

export const vm: Question = {
  name: 'vm',
  title: 'A running virtual machine: incremental backups, what its guest notices, and how soon it is back',
  answer: async (context) => await answerInParts([backups, liveRestores], context),
};

async function backups(context: Context): Promise<Answer> {
  const missing = (await reasonToSkipGuest()) || holdfastMissing();
  if (missing) return { rows: [], bars: [], facts: { missing } };
  const { workspace, scale } = context;
  const node = await TestNode.create({ base: workspace.directory });
  try {
    const diskBytes = Math.max(GIB, Math.round((32 * GIB * scale) / MIB) * MIB);
    const disks = {
      scsi0: { format: 'qcow2' as const, sizeMiB: diskBytes / MIB, options: ',serial=scsi0,discard=on' },
      scsi1: { format: 'raw' as const, sizeMiB: 4096, options: ',serial=scsi1' },
    };
    await node.addVm(ID, { disks, settings: { cores: '1' } });
    await fill(node, context);
    await startVm(node.node, ID, {}, new KeptReport());
    const port = await node.port();
    const guest = { node, port, big: await nameOf(port, 'scsi0'), small: await nameOf(port, 'scsi1'), diskBytes };
    const latency = await latencies(guest, context);
    const incremental = await incrementals(guest, context);
    const idle = await idles(guest, context);
    port.close();
    return {
      rows: [...latency.rows, ...incremental.rows, ...idle.rows],
      bars: [...incremental.bars, ...idle.bars, ...latency.bars],
      facts: { diskBytes, dirtyBytes: DIRTY_PIECES * MIB, ...latency.facts, ...incremental.facts },
    };
  } finally {
    await node.remove();
  }
}

interface Guest {
  readonly node: TestNode;
  readonly port: GuestPort;
  /** The guest's names of scsi0 and scsi1. */
  readonly big: string;
  readonly small: string;
  readonly diskBytes: number;
}

/** The second disk holds the bench's image, so that a full backup has something to do. */
async function fill(node: TestNode, { images, scale }: Context): Promise<void> {
  const { config } = await node.node.configs.read(ID);
  const volume = (config.values.get('scsi1') as string).split(',')[0] as string;
  const { path } = await node.node.storages.volume(volume);
  const megabytes = Math.round(3000 * Math.min(1, scale));
  runPlain({
    argv: ['dd', `if=${images.base().path}`, `of=${path}`, 'bs=1M', 'seek=16', `count=${megabytes}`, 'conv=notrunc'],
  });
}

async function nameOf(port: GuestPort, serial: string): Promise<string> {
  const { disks } = await port.ask('disks');
  return disks.find((disk: { serial: string }) => disk.serial === serial).name;
}

/** p99 of synchronous 4 KiB writes on both disks, without and with a full backup under way. */
async function latencies(guest: Guest, { workspace, runs }: Context): Promise<Answer> {
  const { port, node } = guest;
  await port.ask(`counter START ${guest.big} ${guest.small}`);
  const rows: Row[] = [];
  const ratios: number[] = [];
  let failed = 0;
  let [quietMs, busyMs] = [0, 0];
  for (let run = 0; run < runs; run++) {
    await port.ask('reset-stats');
    await port.ask(`sleep ${QUIET_SECONDS * 1000}`, QUIET_SECONDS * 2000);
    quietMs = (await port.ask('stats')).p99Ms;
    // A store of its own each time, so that everything is new.
    const store = workspace.path(`latency-${run}`);
    runPlain(createStore(store));
    await port.ask('reset-stats');
    await measure(backupVm(store, node.path, ID));
    const stats = await port.ask('stats');
    busyMs = stats.p99Ms;
    failed += stats.failed;
    ratios.push(busyMs / quietMs);
    workspace.remove(`latency-${run}`);
  }
  await port.ask('counter STOP');
  const figure = ratios.sort((a, b) => a - b)[ratios.length >> 1] ?? null;
  return {
    rows,
    bars: [
      atMost("guest's p99 write latency, full backup under way / without", figure, 3),
      atMost("guest's failed writes", failed, 0, ''),
    ],
    facts: { quietP99Ms: quietMs, busyP99Ms: busyMs },
  };
}

/** 200 MiB that the guest wrote, against the same bytes as a file. */
async function incrementals(guest: Guest, { workspace, runs }: Context): Promise<Answer> {
  const { node } = guest;
  const store = workspace.path('incremental');
  runPlain(createStore(store));
  runPlain(backupVm(store, node.path, ID));
  let seed = 100;
  let readBefore = 0;
  const file = workspace.path('dirty.raw');
  const vmBackup: Contender = {
    name: 'incremental of the running VM',
    before: async () => {
      seed += DIRTY_PIECES;
      await writeScattered(guest, seed);
      writeSame(file, guest, seed);
      readBefore = bytesRead(node);
    },
    commands: () => [backupVm(store, node.path, ID)],
    after: ([stdout]) => {
      const { figures } = readBackup(stdout);
      return { ...figures, qemuBytesRead: bytesRead(node) - readBefore };
    },
  };
  const asFile: Contender = {
    name: 'the same bytes as a file',
    before: () => {
      workspace.remove('file-store');
      runPlain(createStore(workspace.path('file-store')));
      // QEMU reads the guest's disk past the page cache (cache=none): the file has to come from the disk too.
      runPlain({ argv: ['sync', file] });
      runPlain({ argv: ['dd', `if=${file}`, 'iflag=nocache', 'count=0', 'status=none'] });
    },
    commands: () => [backup(workspace.path('file-store'), file)],
    after: ([stdout]) => readBackup(stdout).figures,
  };
  const rows = await race([vmBackup, asFile], runs);
  const [ours, theirs] = rows;
  const sampled = extra(ours, 'bytesSampled');
  const read = extra(ours, 'bytesRead');
  const told = extra(ours, 'qemuBytesRead') ?? 0;
  return {
    rows,
    bars: [
      atMost('incremental of 200 MiB, running VM / as a file', ratio(ours, theirs, wall), 2),
      atMost('bytes that QEMU read / bytes read and sampled', told / ((read ?? 0) + (sampled ?? 0)), 1.05),
    ],
    facts: { bytesRead: read ?? 0, bytesSampled: sampled ?? 0, qemuBytesRead: told },
  };
}

async function idles({ node }: Guest, { workspace }: Context): Promise<Answer> {
  const store = workspace.path('incremental');
  const idle: Contender = {
    name: 'incremental of an idle VM',
    commands: () => [backupVm(store, node.path, ID)],
    after: ([stdout]) => readBackup(stdout).figures,
  };
  const rows = await race([idle], IDLE_RUNS);
  const [row] = rows;
  const slowest = row?.status === 'ok' ? Math.max(...row.runs.map((usage) => usage.wallS)) : null;
  return { rows, bars: [atMost('idle VM: slowest of 5 incrementals, whole process', slowest, 2, ' s')], facts: {} };
}

async function writeScattered({ port, big, diskBytes }: Guest, seed: number): Promise<void> {
  for (const { offset, pieceSeed } of pieces(diskBytes, seed))
    await port.ask(`write ${big} ${offset} ${MIB} ${pieceSeed}`);
  await port.ask('sync');
}

/** What the guest wrote, joined into a file. */
function writeSame(target: string, { diskBytes }: Guest, seed: number): void {
  const fd = openSync(target, 'w');
  try {
    for (const { offset, pieceSeed } of pieces(diskBytes, seed)) writeSync(fd, writtenBlocks(offset, MIB, pieceSeed));
  } finally {
    closeSync(fd);
  }
}

function pieces(diskBytes: number, seed: number): { offset: number; pieceSeed: number }[] {
  const step = Math.floor(diskBytes / DIRTY_PIECES / MIB) * MIB;
  return Array.from({ length: DIRTY_PIECES }, (_, index) => ({ offset: index * step, pieceSeed: seed + index }));
}

/** What QEMU has read from its files, by the kernel's count; what comes over sockets is not in it. */
function bytesRead(node: TestNode): number {
  const pid = readFileSync(node.node.directory.run(ID).pidFile, 'utf8').trim();
  return Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]);
}
