// How soon does a machine that is restored live answer, against its start from a local disk? The guest is a whole Debian that boots from the disk in question.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type GuestNode, openGuestNode } from '../src/guests/guest-node.ts';
import { endQemu } from '../src/guests/qemu/qemu-process.ts';
import { agentCommand } from '../src/guests/vm/agent-command.ts';
import { createVm } from '../src/guests/vm/create.ts';
import { destroyVm } from '../src/guests/vm/destroy.ts';
import { startVm } from '../src/guests/vm/start.ts';
import { stopVm } from '../src/guests/vm/stop.ts';
import { type GuestId, parseGuestId } from '../src/schema/guest-names.ts';
import { HoldfastError } from '../src/util/errors.ts';
import { KeptReport } from '../test/support/guests/vm-node.ts';
import { backupVm, createStore, holdfastMissing, restoreVmLive } from './holdfast.ts';
import { median } from './median.ts';
import { type Answer, atMost, type Context } from './question.ts';
import { runPlain } from './stores.ts';

const GIB = 1 << 30;
/** Numbers of no guest of this machine. */
const [ID, RESTORED] = [parseGuestId(9_101), parseGuestId(9_102)];
const DISK_BYTES = 8 * GIB;
/** Data beyond the guest's file system, so that the stream has something to do. */
const FILL_MIB = 1024;
const FILL_AT_MIB = 2048;
const BOOT_TIMEOUT_MS = 300_000;
const POLL_MS = 100;
const SETTINGS = {
  agent: '1',
  cores: '1',
  memory: '384',
  scsihw: 'virtio-scsi-pci',
  vga: 'serial0',
  serial0: 'socket',
};

/** Each run starts both, one after the other; the restore copies as fast as it can, and is given up when its guest answers. */
export async function liveRestores({ workspace, images, runs, scale }: Context): Promise<Answer> {
  const guest = buildGuest();
  const missing = guest.missing ?? holdfastMissing();
  if (missing !== undefined) return { rows: [], bars: [], facts: { liveRestoreMissing: missing } };
  const disk = workspace.path('debian.raw');
  runPlain({ argv: ['qemu-img', 'convert', '-O', 'raw', join(guest.directory, 'root.qcow2'), disk] });
  truncateSync(disk, DISK_BYTES);
  const megabytes = Math.round(FILL_MIB * Math.min(1, scale));
  const fill = ['dd', `if=${images.base().path}`, `of=${disk}`, 'bs=1M', `seek=${FILL_AT_MIB}`, `count=${megabytes}`];
  runPlain({ argv: [...fill, 'conv=notrunc'] });
  const nodeDirectory = workspace.fresh('live-node');
  const node = await openGuestNode(nodeDirectory);
  const store = workspace.path('live-store');
  try {
    await createVm(node, ID, { ...SETTINGS, scsi0: `local:0,import-from=${disk}` }, {}, new KeptReport());
    workspace.remove('debian.raw');
    runPlain(createStore(store));
    runPlain(backupVm(store, nodeDirectory, ID));
    const found: { bootS: number; liveS: number }[] = [];
    for (let run = 0; run < runs; run++) {
      console.error(`bench: boot and live restore, run ${run + 1} of ${runs}`);
      found.push({ bootS: await boot(node), liveS: await restoreLive(node, store, nodeDirectory) });
    }
    const bootS = median(found.map((each) => each.bootS));
    const liveS = median(found.map((each) => each.liveS));
    const ratio = median(found.map((each) => each.liveS / each.bootS));
    return {
      rows: [],
      bars: [atMost("live restore: until the guest's agent answers / its boot from a local disk", ratio, 3)],
      facts: { liveDiskBytes: DISK_BYTES, bootS: Number(bootS.toFixed(1)), liveRestoreS: Number(liveS.toFixed(1)) },
    };
  } finally {
    for (const id of [ID, RESTORED]) await endQemu(node.directory.run(id), undefined, 0);
    execFileSync('rm', ['-rf', '--', node.directory.runPath]);
    workspace.remove('live-node');
    workspace.remove('live-store');
  }
}

async function boot(node: GuestNode): Promise<number> {
  const started = performance.now();
  await startVm(node, ID, {}, new KeptReport());
  await answers(node, ID);
  const seconds = (performance.now() - started) / 1000;
  await stopVm(node, ID, {}, new KeptReport());
  return seconds;
}

/** The program's start is part of it. */
async function restoreLive(node: GuestNode, store: string, nodeDirectory: string): Promise<number> {
  const [program = '', ...args] = restoreVmLive(store, nodeDirectory, ID, RESTORED).argv;
  const started = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = once(child, 'exit');
  const giveUp = new AbortController();
  const early = ended.then(([code]) => {
    if (code !== 0) throw new Error(`the live restore ended with exit code ${code}`);
  });
  try {
    await Promise.race([answers(node, RESTORED, giveUp.signal), early.then(async () => await answers(node, RESTORED))]);
    return (performance.now() - started) / 1000;
  } finally {
    giveUp.abort();
    early.catch(() => undefined);
    await undo(node, child, ended);
  }
}

/** Ctrl-C stops the guest and removes what was restored; a restore that was done by then is taken away here. */
async function undo(node: GuestNode, child: ReturnType<typeof spawn>, ended: Promise<unknown>): Promise<void> {
  child.kill('SIGINT');
  await ended;
  if (!(await node.configs.list()).includes(RESTORED)) return;
  await stopVm(node, RESTORED, { skipLock: true }, new KeptReport());
  await destroyVm(node, RESTORED, { skipLock: true }, new KeptReport());
}

async function answers(node: GuestNode, id: GuestId, signal?: AbortSignal): Promise<void> {
  const deadline = performance.now() + BOOT_TIMEOUT_MS;
  while (performance.now() < deadline) {
    try {
      await agentCommand(node, id, 'ping', undefined, { timeoutMs: 1_000, signal });
      return;
    } catch (error) {
      if (signal?.aborted || !(error instanceof HoldfastError)) throw error;
    }
    await sleep(POLL_MS);
  }
  throw new Error(`VM ${id} did not answer within ${BOOT_TIMEOUT_MS / 1000} s`);
}

/** The guest of the demo, cached or built. */
function buildGuest(): { directory: string; missing?: string } {
  try {
    const stdout = execFileSync(process.execPath, ['scripts/guests/build-debian-guest.mjs'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return { directory: stdout.trim() };
  } catch (error) {
    return { directory: '', missing: (error as { stderr?: string }).stderr ?? String(error) };
  }
}
