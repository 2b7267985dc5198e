// The monitor's client against real QEMU builds: answers find their callers, no event is missed, and nothing waits for ever.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { MAX_PENDING, QmpClient } from '../../../src/guests/qmp/qmp-client.ts';
import {
  queryBlockDevices,
  queryBlockExports,
  queryBlockJobs,
  queryBlockNodes,
  queryStatus,
} from '../../../src/guests/qmp/qmp-types.ts';
import type { HoldfastError } from '../../../src/util/errors.ts';
import { installedQemu, qemuBuilds } from '../../support/guests/qemu-builds.ts';
import { scratch, startMonitor } from './qemu-monitor.ts';

const MIB = 1 << 20;

for (const build of qemuBuilds) {
  test(`${build.name}: greets, answers several at once, and says why it refuses`, { skip: build.skip }, async (t) => {
    const { socketPath } = await startMonitor(t, build);
    const client = await QmpClient.connect(socketPath, { label: 'VM 101' });
    assert.equal(client.version.major, build.major);
    assert.ok(build.name.endsWith(`${client.version.major}.${client.version.minor}.${client.version.micro}`));
    assert.match(client.version.package, /Debian/);
    const names = Array.from({ length: MAX_PENDING }, (_, index) => `n${index}`);
    const adding = names.map((name) => client.execute('blockdev-add', { driver: 'null-co', 'node-name': name }));
    await assert.rejects(client.execute('query-status'), { code: 'guest-failed', message: /has not answered 64/ });
    await Promise.all(adding);
    assert.deepEqual((await queryBlockNodes(client)).map((node) => node.nodeName).sort(), [...names].sort());
    await assert.rejects(client.execute('blockdev-del', { 'node-name': 'absent' }), {
      code: 'guest-failed',
      message: "VM 101: blockdev-del failed: Failed to find node with node-name='absent'",
      data: { command: 'blockdev-del', qmpClass: 'GenericError', desc: "Failed to find node with node-name='absent'" },
    });
    await assert.rejects(
      client.execute('no-such'),
      (error: HoldfastError) => error.data.qmpClass === 'CommandNotFound',
    );
    client.close();
    assert.equal(await client.closed, undefined);
    await assert.rejects(client.execute('query-status'), { code: 'aborted' });
    const next = await QmpClient.connect(socketPath);
    assert.deepEqual(await queryStatus(next), { running: true, status: 'running' });
    next.close();
  });

  test(`${build.name}: what is asked about its disks comes in our words`, { skip: build.skip }, async (t) => {
    const { socketPath } = await startMonitor(t, build);
    const client = await QmpClient.connect(socketPath);
    t.after(() => client.close());
    await client.execute('blockdev-add', { driver: 'null-co', 'node-name': 'd-scsi0', size: 64 * MIB });
    await client.execute('blockdev-add', { driver: 'null-co', 'node-name': 'target', size: 64 * MIB });
    await client.execute('block-dirty-bitmap-add', { node: 'd-scsi0', name: 'hf-0-1', granularity: 65_536 });
    const nodes = await queryBlockNodes(client);
    const node = nodes.find((each) => each.nodeName === 'd-scsi0')!;
    assert.deepEqual([node.driver, node.readOnly, node.virtualSizeBytes], ['null-co', false, 64 * MIB]);
    assert.deepEqual(node.bitmaps, [
      {
        name: 'hf-0-1',
        granularityBytes: 65_536,
        dirtyBytes: 0,
        recording: true,
        busy: false,
        persistent: false,
        inconsistent: false,
      },
    ]);
    assert.deepEqual(nodes.find((each) => each.nodeName === 'target')!.bitmaps, []);

    await client.execute('nbd-server-start', { addr: { type: 'unix', data: { path: join(scratch(t), 'nbd') } } });
    await client.execute('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'd-scsi0' });
    assert.deepEqual(await queryBlockExports(client), [
      { id: 'e', type: 'nbd', nodeName: 'd-scsi0', shuttingDown: false },
    ]);
    const mirror = { 'job-id': 'm', device: 'd-scsi0', target: 'target', sync: 'full', speed: 4096 };
    await client.execute('blockdev-mirror', mirror);
    const [job] = await queryBlockJobs(client);
    assert.deepEqual([job.id, job.type, job.speedBytesPerSecond, job.paused], ['m', 'mirror', 4096, false]);
    // The mirror's own bitmap has no name, and is nobody's business.
    const during = (await queryBlockNodes(client)).find((each) => each.nodeName === 'd-scsi0')!;
    assert.deepEqual(
      during.bitmaps.map((bitmap) => bitmap.name),
      ['hf-0-1'],
    );
    assert.deepEqual(await queryBlockDevices(client), []);
  });

  test(`${build.name}: a wait that was made before its command gets the event`, { skip: build.skip }, async (t) => {
    const { socketPath } = await startMonitor(t, build);
    const client = await QmpClient.connect(socketPath);
    t.after(() => client.close());
    const seen: string[] = [];
    const stop = client.onEvent((event) => seen.push(event.name));
    await client.execute('nbd-server-start', { addr: { type: 'unix', data: { path: join(scratch(t), 'nbd') } } });
    await client.execute('blockdev-add', { driver: 'null-co', 'node-name': 'n' });
    for (const id of ['a', 'b'])
      await client.execute('block-export-add', { type: 'nbd', id, 'node-name': 'n', name: id });
    const deleted = client.waitForEvent('BLOCK_EXPORT_DELETED', (event) => event.data.id === 'b');
    const never = client.waitForEvent('BLOCK_EXPORT_DELETED', (event) => event.data.id === 'c', { timeoutMs: 300 });
    const asked = Date.now();
    for (const id of ['a', 'b']) await client.execute('block-export-del', { id });
    const event = await deleted;
    assert.deepEqual(event.data, { id: 'b' });
    assert.ok(event.timeMs >= asked - 1 && event.timeMs <= Date.now());
    await assert.rejects(never, { code: 'timed-out', message: /BLOCK_EXPORT_DELETED within 300 ms/ });
    assert.deepEqual(seen, ['BLOCK_EXPORT_DELETED', 'BLOCK_EXPORT_DELETED']);
    stop();
    const stopped = new AbortController();
    const given = client.waitForEvent('STOP', undefined, { signal: stopped.signal });
    stopped.abort();
    await assert.rejects(given, { code: 'aborted' });
    await client.execute('nbd-server-stop');
    assert.equal(seen.length, 2);
  });

  test(`${build.name}: its end fails what is under way`, { skip: build.skip }, async (t) => {
    const { socketPath, child } = await startMonitor(t, build);
    const client = await QmpClient.connect(socketPath, { label: 'VM 101' });
    child.kill('SIGSTOP');
    const answer = client.execute('query-status');
    const event = client.waitForEvent('SHUTDOWN');
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    for (const waiting of [answer, event])
      await assert.rejects(waiting, { code: 'guest-failed', message: 'the connection to VM 101 is lost: QEMU ended' });
    assert.match((await client.closed)!.message, /QEMU ended/);
    await assert.rejects(client.execute('query-status'), { code: 'guest-failed', message: /QEMU ended/ });
    await assert.rejects(client.waitForEvent('SHUTDOWN'), { code: 'guest-failed', message: /QEMU ended/ });
    await exited;
    await assert.rejects(QmpClient.connect(socketPath, { label: 'VM 101' }), {
      code: 'guest-stopped',
      message: `VM 101 does not run: nothing listens on ${socketPath}`,
    });
  });

  test(`${build.name}: quit is answered, and reported before the end`, { skip: build.skip }, async (t) => {
    const { socketPath, child } = await startMonitor(t, build);
    const client = await QmpClient.connect(socketPath);
    const exited = once(child, 'exit');
    const shutdown = client.waitForEvent('SHUTDOWN');
    await client.execute('quit');
    assert.equal((await shutdown).data.reason, 'host-qmp-quit');
    assert.match((await client.closed)!.message, /QEMU ended/);
    assert.deepEqual(await exited, [0, null]);
  });
}

test('a monitor that another program uses is named as such, and free after it', {
  skip: installedQemu.skip,
}, async (t) => {
  const { socketPath } = await startMonitor(t, installedQemu);
  const first = await QmpClient.connect(socketPath);
  // The backlog takes some; who finds it full is refused by the kernel with EAGAIN, and tries again.
  const others = Array.from({ length: 5 }, () => QmpClient.connect(socketPath, { timeoutMs: 400, label: 'VM 101' }));
  for (const other of others)
    await assert.rejects(other, {
      code: 'timed-out',
      message: /^VM 101 did not greet .* another program uses this monitor/,
    });
  const aborted = new AbortController();
  const given = QmpClient.connect(socketPath, { signal: aborted.signal });
  setTimeout(() => aborted.abort(), 50);
  await assert.rejects(given, { code: 'aborted' });
  await assert.rejects(QmpClient.connect(socketPath, { signal: AbortSignal.abort() }), { code: 'aborted' });
  const waiting = QmpClient.connect(socketPath);
  first.close();
  (await waiting).close();
});

test('a late answer is dropped, and the connection goes on', { skip: installedQemu.skip }, async (t) => {
  const { socketPath, child } = await startMonitor(t, installedQemu);
  const client = await QmpClient.connect(socketPath, { label: 'VM 101' });
  t.after(() => client.close());
  child.kill('SIGSTOP');
  const late = client.execute('blockdev-add', { driver: 'null-co', 'node-name': 'late' }, { timeoutMs: 50 });
  const aborted = new AbortController();
  const given = client.execute('query-version', {}, { signal: aborted.signal });
  await assert.rejects(late, { code: 'timed-out', message: 'VM 101: blockdev-add was not answered within 50 ms' });
  aborted.abort(new Error('the task was stopped'));
  await assert.rejects(given, { code: 'aborted', cause: new Error('the task was stopped') });
  await assert.rejects(client.execute('quit', {}, { signal: AbortSignal.abort() }), { code: 'aborted' });
  child.kill('SIGCONT');
  assert.deepEqual(await queryStatus(client), { running: true, status: 'running' });
  assert.deepEqual(
    (await queryBlockNodes(client)).map((node) => node.nodeName),
    ['late'],
  );
});

test('a QEMU that hangs is not asked without end', { skip: installedQemu.skip }, async (t) => {
  const { socketPath, child } = await startMonitor(t, installedQemu);
  const client = await QmpClient.connect(socketPath);
  t.after(() => client.close());
  child.kill('SIGSTOP');
  const asked = Array.from({ length: MAX_PENDING }, () => client.execute('query-status', {}, { timeoutMs: 20 }));
  for (const each of asked) await assert.rejects(each, { code: 'timed-out' });
  await assert.rejects(client.execute('query-status'), {
    code: 'guest-failed',
    message: /has not answered 64 commands/,
  });
  child.kill('SIGCONT');
});

test('no socket is a guest that does not run', async (t) => {
  const socketPath = join(scratch(t), 'absent');
  await assert.rejects(QmpClient.connect(socketPath), { code: 'guest-stopped' });
  await assert.rejects(QmpClient.connect('x'.repeat(108)), { code: 'bad-argument', message: /107 bytes/ });
});
