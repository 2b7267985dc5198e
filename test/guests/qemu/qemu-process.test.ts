// A QEMU process of ours has the priorities of any program, whoever starts it: a server whose main thread goes first, or a backup that goes last.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { RunDirectory } from '../../../src/guests/node-directory.ts';
import { endQemu, findQemu, startQemu } from '../../../src/guests/qemu/qemu-process.ts';
import { readQemuProgram } from '../../../src/guests/qemu/qemu-program.ts';
import { run } from '../../../src/util/run.ts';
import { reasonForTools } from '../../support/power-cut/scratch.ts';

const missing = reasonForTools('qemu-system-x86_64', 'ionice');
const skip = process.getuid?.() === 0 ? missing : 'only root may raise a priority';

suite('priorities of QEMU', { skip }, () => {
  for (const [who, niceness] of [
    ['a server', -10],
    ['a backup', 10],
  ] as const)
    test(`started by ${who}`, async () => {
      const { thread, io } = await prioritiesOfQemu(niceness);
      assert.deepEqual(new Set(thread), new Set([0]));
      assert.match(io, /^none/);
    });
});

/** Of each of its threads, and at the disk, when the main thread has this one and goes last at the disk. */
async function prioritiesOfQemu(niceness: number): Promise<{ thread: number[]; io: string }> {
  const usual = getPriority(process.pid);
  const directory = mkdtempSync('/dev/shm/hf-qemu-');
  const at = new RunDirectory(join(directory, '7120'));
  const machine = ['-machine', 'none', '-nodefaults', '-display', 'none', '-pidfile', at.pidFile];
  // As the command line of a guest says it: by its monitor's path QEMU is found again.
  const socket = `socket,id=control,path=${at.controlMonitor},server=on,wait=off`;
  const monitor = ['-chardev', socket, '-mon', 'chardev=control,mode=control'];
  try {
    await run('ionice', ['-c', '3', '-p', String(process.pid)]);
    setPriority(process.pid, niceness);
    const options = { label: 'VM 7120', argvPrefix: [] };
    const client = await startQemu(await readQemuProgram(directory), [...machine, ...monitor], at, options);
    const pid = readFileSync(at.pidFile, 'utf8').trim();
    assert.equal(await findQemu(at), Number(pid), 'it is ended when it was looked at');
    const thread = readdirSync(`/proc/${pid}/task`).map((tid) => getPriority(Number(tid)));
    const { stdout } = await run('ionice', ['-p', pid]);
    await endQemu(at, client, 5000);
    client.close();
    return { thread, io: stdout };
  } finally {
    setPriority(process.pid, usual);
    await run('ionice', ['-c', '0', '-p', String(process.pid)]);
    rmSync(directory, { recursive: true, force: true });
  }
}
