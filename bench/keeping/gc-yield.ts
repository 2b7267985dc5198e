// Half of the snapshots of a changing disk are forgotten: how much does a collection give back, with how much extra space meanwhile, and
// how much does it slow down a backup?
import { type ChildProcess, spawn } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Contender, extra, race, ratio, wall } from '../contender.ts';
import { backup, collect, forget, holdfastMissing, readBackup, readCollection } from '../holdfast.ts';
import type { Command } from '../measure.ts';
import { type Answer, atLeast, atMost, type Context } from '../question.ts';
import { emptyStore, runPlain } from '../stores.ts';
import { folderSize, type Workspace } from '../workspace.ts';

const VERSIONS = 6;
const DISK_BYTES = 2 ** 30;
const BLOCK_BYTES = 65_536;
/** Of each version, against the one before. */
const CHANGED_SHARE = 0.08;
const HOME = 'gc-half';
const SAMPLE_EVERY_MS = 20;

export async function gcYield({ images, workspace, runs, scale }: Context): Promise<Answer> {
  const base = images.base();
  const sizes = makeStores(workspace, base.path, Math.min(DISK_BYTES * scale, base.sizeBytes));
  const onlyForgotten = sizes.all - sizes.kept;
  const [collected] = await race([collection(workspace)], runs);
  const other: OtherProcess = { collecting: undefined, freedBytes: 0 };
  const alone = backupBeside(workspace, 'backup alone', base.path, other, false);
  const beside = backupBeside(workspace, 'backup beside that gc', base.path, other, true);
  const [aloneRow, besideRow] = await race([alone, beside], runs);
  await other.collecting;
  const left = extra(collected, 'leftBytes');
  const givenBack = left === null ? null : (sizes.all - left) / onlyForgotten;
  const extraBytes = extra(collected, 'extraBytes');
  return {
    rows: [collected, aloneRow, besideRow],
    bars: [
      atLeast('gc: given back of what only forgotten snapshots held', givenBack, 0.9),
      atMost('gc: peak of extra disk', extraBytes === null ? null : extraBytes / 2 ** 20, 1024, ' MiB'),
      atLeast('speed of a backup beside a gc / alone', ratio(aloneRow, besideRow, wall), 0.7),
    ],
    facts: { heldOnlyByForgotten: onlyForgotten, freedBesideBackup: other.freedBytes },
  };
}

/** Leaves the store of all versions, every second one forgotten, in `HOME`; says how large it is, and one of the kept ones alone. */
function makeStores(workspace: Workspace, source: string, sizeBytes: number): { all: number; kept: number } {
  const all = emptyStore(workspace, HOME);
  const kept = emptyStore(workspace, 'gc-kept');
  const disk = workspace.path('changing.img');
  copyStart(source, disk, sizeBytes);
  const snapshots: string[] = [];
  for (let version = 0; version < VERSIONS; version++) {
    if (version > 0) change(disk, sizeBytes, version);
    snapshots.push(readBackup(runPlain(backup(all, disk))).snapshot);
    if (version % 2 === 1) runPlain(backup(kept, disk));
  }
  const sizes = { all: packBytes(all), kept: packBytes(kept) };
  for (const [version, snapshot] of snapshots.entries()) if (version % 2 === 0) runPlain(forget(all, snapshot));
  workspace.keep(HOME);
  workspace.remove('gc-kept');
  return sizes;
}

function collection(workspace: Workspace): Contender {
  const repository = workspace.path(HOME, 'repository');
  let before = 0;
  let peak = 0;
  let sampler: NodeJS.Timeout | undefined;
  return {
    name: 'gc after half of the snapshots were forgotten',
    missing: holdfastMissing(),
    before: () => {
      workspace.reset(HOME);
      before = packBytes(repository);
      peak = before;
      sampler = setInterval(() => {
        peak = Math.max(peak, packBytes(repository));
      }, SAMPLE_EVERY_MS);
    },
    commands: () => [collect(repository)],
    after: ([stdout]) => {
      clearInterval(sampler);
      return { ...readCollection(stdout), leftBytes: packBytes(repository), extraBytes: peak - before };
    },
  };
}

/** A collection that another process asks for, and that goes on alone when the backup has ended. */
interface OtherProcess {
  collecting: Promise<void> | undefined;
  freedBytes: number;
}

function backupBeside(
  workspace: Workspace,
  name: string,
  image: string,
  other: OtherProcess,
  collects: boolean,
): Contender {
  const repository = workspace.path(HOME, 'repository');
  return {
    name,
    missing: holdfastMissing(),
    before: async () => {
      await other.collecting;
      workspace.reset(HOME);
    },
    commands: () => {
      // Started here, so that it finds the store held by the backup that begins now.
      if (collects)
        other.collecting = collectWhenHeld(repository).then((stdout) => {
          other.freedBytes = readCollection(stdout).bytesFreed;
        });
      return [backup(repository, image)];
    },
    after: ([stdout]) => readBackup(stdout).figures,
  };
}

/** What a collection prints that runs inside of the backup which holds the store. */
async function collectWhenHeld(repository: string): Promise<string> {
  while (readdirSync(`${repository}/sessions`).length === 0) await sleep(10);
  return await output(collect(repository));
}

async function output(command: Command): Promise<string> {
  const child: ChildProcess = spawn(command.argv[0], command.argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout?.on('data', (data: Buffer) => {
    text += data.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${command.argv.join(' ')} ended with ${code}`);
  return text;
}

function packBytes(repository: string): number {
  try {
    return folderSize(`${repository}/packs`).lengthBytes + folderSize(`${repository}/condemned`).lengthBytes;
  } catch (error) {
    // A file that went between listing and looking: the next sample counts.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}

function copyStart(source: string, target: string, bytes: number): void {
  const [from, to] = [openSync(source, 'r'), openSync(target, 'w')];
  const buffer = Buffer.alloc(2 ** 22);
  for (let at = 0; at < bytes; at += buffer.length) {
    const got = readSync(from, buffer, 0, Math.min(buffer.length, bytes - at), at);
    writeSync(to, buffer, 0, got, at);
  }
  closeSync(from);
  closeSync(to);
}

/** Overwrites blocks spread over the disk with bytes that do not compress, the same for the same version. */
function change(path: string, sizeBytes: number, version: number): void {
  const fd = openSync(path, 'r+');
  const stream = createCipheriv('aes-128-ctr', Buffer.alloc(16, version), Buffer.alloc(16));
  const blocks = Math.floor(sizeBytes / BLOCK_BYTES);
  for (let nth = 0; nth < blocks * CHANGED_SHARE; nth++) {
    const bytes = stream.update(Buffer.alloc(BLOCK_BYTES));
    const block = bytes.readUInt32LE(0) % blocks;
    writeSync(fd, bytes, 0, bytes.length, block * BLOCK_BYTES);
  }
  closeSync(fd);
}
