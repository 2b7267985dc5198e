// holdfast vm as users have it: a process for each word, its exit code and what it printed, on a real guest.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { findQemu } from '../../src/guests/qemu/qemu-process.ts';
import { parseGuestId } from '../../src/schema/guest-names.ts';
import { ERROR_CODES, type ErrorCode } from '../../src/util/errors.ts';
import { holdfast, type Ran, start } from '../cli/holdfast.ts';
import { reasonToSkipGuest } from '../support/guests/test-guest.ts';
import { TestNode } from '../support/guests/vm-node.ts';

const ID = '7301';
const BASICS =
  '--agent 1 --memory 192 --scsihw virtio-scsi-pci --vga none --balloon 0 --kvm 0 --tablet 0 --serial0 socket'.split(
    ' ',
  );
const skip = await reasonToSkipGuest();

suite('holdfast vm', { skip, timeout: 120_000 }, () => {
  let place: TestNode;

  before(async () => {
    place = await TestNode.create();
  });

  after(async () => {
    for (const pid of watches()) process.kill(pid, 'SIGTERM');
    await place?.remove();
  });

  async function vm(...words: string[]): Promise<Ran> {
    const ran = await holdfast(['vm', ...words], { env: { HOLDFAST_NODE_DIR: place.path } });
    assert.equal(ran.code, 0, ran.stderr);
    return ran;
  }

  async function fails(code: ErrorCode, ...words: string[]): Promise<string> {
    const ran = await holdfast(['vm', ...words], { env: { HOLDFAST_NODE_DIR: place.path } });
    assert.equal(ran.code, ERROR_CODES[code][1], ran.stderr);
    return ran.stderr;
  }

  const json = async <Value>(...words: string[]): Promise<Value> =>
    JSON.parse((await vm(...words, '--output-format', 'json')).stdout.toString());
  const text = async (...words: string[]): Promise<string> => (await vm(...words)).stdout.toString().trim();

  /** Detached watches of this node. */
  function watches(): number[] {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    const words = (pid: string): string => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        return '';
      }
    };
    return pids.filter((pid) => words(pid).includes(`vm\0watch\0--node-dir\0${place.path}`)).map(Number);
  }

  test('a guest is made, listed, changed and shown', async () => {
    await vm('create', ID, '--name', 'cli', '--scsi0', 'local:0.0625', '--net0=virtio', ...BASICS);
    const rows = await json<{ vmid: number; name: string; status: string }[]>('list');
    assert.deepEqual(
      rows.map(({ vmid, name, status }) => [vmid, name, status]),
      [[7301, 'cli', 'stopped']],
    );
    assert.match(await text('list'), /^7301 {2}cli {3}stopped/m);
    assert.equal(await text('status', ID), 'status: stopped');
    await vm('set', ID, '--memory', '208', '--delete', 'tablet', '--description', 'two\nlines');
    const config = await json<Record<string, string>>('config', ID);
    assert.equal(config.memory, '208');
    assert.equal(config.tablet, undefined);
    assert.equal(config.description, 'two\nlines');
    assert.match(await text('showcmd', ID), /qemu-system-x86_64 .*-m 208 .*tap7301i0/);
    const alias = await holdfast(['qm', 'status', ID, '--node-dir', place.path]);
    assert.equal(alias.stdout.toString(), 'status: stopped\n');
  });

  test('errors have their exit codes', async () => {
    assert.match(await fails('bad-argument', 'set', ID, '--nonsense', '1'), /--nonsense/);
    await fails('bad-argument', 'set', ID, '--memory');
    await fails('bad-argument', 'set', ID, '--memory', 'lots');
    await fails('exists', 'create', ID);
    await fails('bad-name', 'status', '7');
    await fails('not-found', 'config', '7399');
    await fails('not-found', 'start', '7399');
    assert.deepEqual(readdirSync(join(place.path, 'guests')), [ID]);
    await fails('guest-stopped', 'shutdown', ID);
    await fails('guest-stopped', 'agent', ID, 'ping');
    await fails('config-changed', 'set', ID, '--cores', '2', '--digest', '0'.repeat(40));
    await fails('not-found', 'rollback', ID, 'never');
    await fails('bad-argument', 'resize', ID, 'scsi0', '1K');
  });

  test('it starts with a watch beside it, and takes changes while it runs', async () => {
    await vm('start', ID);
    assert.equal(watches().length, 1);
    await fails('guest-running', 'start', ID);
    await fails('guest-running', 'destroy', ID);
    (await place.port()).close();
    assert.equal(await text('agent', ID, 'ping'), '{}');
    assert.match(await text('agent', ID, 'get-osinfo'), /Holdfast test guest/);
    assert.match(await fails('guest-failed', 'guest', 'exec', ID, '--', '/bin/true'), /guest-exec/);
    await vm('resize', ID, 'scsi0', '+1M');
    await vm('snapshot', ID, 'now', '--description', 'first');
    assert.match(await text('listsnapshot', ID), /now .*first\n *current .*now .*You are here!/);
    await vm('delsnapshot', ID, 'now');
    assert.deepEqual((await json<{ snapshots: unknown[] }>('listsnapshot', ID)).snapshots, []);
    const { pending } = await json<{ pending: string[] }>('set', ID, '--cores', '2');
    assert.deepEqual(pending, ['cores']);
    assert.match(await text('pending', ID), /cores: \(none\) -> 2/);
    await vm('suspend', ID);
    assert.match(await text('status', ID, '--verbose'), /qmpStatus +paused/);
    await vm('resume', ID);
  });

  test('the terminal shows the serial console until Ctrl-O', async () => {
    const { child, ended } = start(['vm', 'terminal', ID], { env: { HOLDFAST_NODE_DIR: place.path } });
    let said = '';
    child.stderr?.on('data', (bytes) => {
      said += String(bytes);
    });
    for (let tries = 0; !said.includes('Ctrl+O') && tries < 100; tries++) await sleep(50);
    child.stdin?.write('\x0f');
    assert.equal((await ended).code, 0);
  });

  test('a guest that powers itself off is put away by the watch', async () => {
    const port = await place.port();
    await port.ask('poweroff');
    port.close();
    const run = place.node.directory.run(parseGuestId(ID));
    for (let tries = 0; (await findQemu(run)) !== undefined && tries < 200; tries++) await sleep(50);
    assert.equal(await findQemu(run), undefined);
    assert.equal(await text('status', ID), 'status: stopped');
    await vm('startall', '--no-watch', '--force');
    assert.equal(await text('status', ID), 'status: running');
    await vm('stopall', '--timeout', '0');
    await vm('clone', ID, '7302', '--name', 'copy');
    await vm('destroy', ID);
    assert.deepEqual(readdirSync(join(place.path, 'qemu-server')), ['7302.conf']);
    await vm('destroy', '7302');
    assert.equal(await text('list'), 'VMID  NAME  STATUS  MEM (MiB)  BOOTDISK (GiB)  PID');
  });
});
