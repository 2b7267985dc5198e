// A storage daemon that no guest waits for: not ahead of everybody with a server's main thread, but behind with a backup that goes last.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { getPriority, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { StorageDaemon } from '../../../src/agent/qemu/storage-daemon.ts';
import { readQemuProgram } from '../../../src/guests/qemu/qemu-program.ts';
import { reasonForTools } from '../../support/power-cut/scratch.ts';

const missing = reasonForTools('qemu-storage-daemon');
const skip = process.getuid?.() === 0 ? missing : 'only root may raise a priority';
const usual = getPriority(process.pid);

for (const [mainThread, wanted] of [
  [usual - 5, usual],
  [usual + 5, usual + 5],
] as const)
  test(`the daemon of disks, started with niceness ${mainThread}, has ${wanted}`, { skip }, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'hft-daemon-'));
    let daemon: StorageDaemon | undefined;
    try {
      const qemu = await readQemuProgram(directory);
      setPriority(process.pid, mainThread);
      daemon = await StorageDaemon.start(qemu, { label: 'VM 101', directory, name: 'disks', atOurEnd: 'KILL' });
      assert.deepEqual(new Set(prioritiesOf(join(directory, 'disks.qmp'))), new Set([wanted]));
    } finally {
      setPriority(process.pid, usual);
      await daemon?.kill();
      rmSync(directory, { recursive: true, force: true });
    }
  });

/** Of each thread of the daemon with that monitor. */
function prioritiesOf(monitorSocket: string): number[] {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(/\s+/);
  const pid = children.find((child) => readFileSync(`/proc/${child}/cmdline`, 'utf8').includes(monitorSocket));
  return readdirSync(`/proc/${pid}/task`).map((thread) => getPriority(Number(thread)));
}
