// The fleece's daemon: whether it is there, and what is said when it is not.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import fsPromises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { createServer } from 'node:net';
import { getPriority, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Fleece, isServed } from '../../../src/agent/qemu/fleece.ts';
import { readQemuProgram } from '../../../src/guests/qemu/qemu-program.ts';
import { storageDaemons } from '../../support/guests/storage-daemons.ts';
import { reasonForTools } from '../../support/power-cut/scratch.ts';

suite('a fleece', () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'hft-fleece-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  // By its socket alone: its process may wait for a dead storage and answer nothing.
  test('a socket that somebody listens on is served, one that a killed process left is not', async () => {
    const path = join(directory, 'fleece.nbd');
    assert.equal(await isServed(directory), false);
    const listen = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', listen]);
    assert.equal(await isServed(directory), false, 'what was left');
    rmSync(path);
    const server = createServer().listen(path);
    await new Promise((done) => server.once('listening', done));
    assert.equal(await isServed(directory), true);
    server.close();
  });

  const skip = reasonForTools('qemu-storage-daemon');
  const skipPriority = skip || (process.getuid?.() !== 0 && 'needs root, who may raise a priority');

  test('a daemon that was killed this moment is the reason, also before its end is known here', { skip }, async () => {
    await withFleece(async (fleece) => {
      assert.equal(await fleece.whyBroken(), undefined);
      const [pid] = storageDaemons(directory);
      process.kill(pid as number, 'SIGKILL');
      assert.match((await fleece.whyBroken())?.message ?? '', /^VM 101: the fleece's storage daemon has ended/);
    });
  });

  test("its daemon, which the guest's writes wait for, does not share the backup's low priority", {
    skip: skipPriority,
  }, async () => {
    const before = getPriority();
    setPriority(before + 5);
    try {
      await withFleece(async () => {
        const [pid] = storageDaemons(directory) as [number];
        const priorities = readdirSync(`/proc/${pid}/task`).map((thread) => getPriority(Number(thread)));
        assert.deepEqual(new Set(priorities), new Set([0]));
      });
    } finally {
      setPriority(before);
    }
  });

  test('one that takes more than it may is ended, and so is one of which nobody can tell', { skip }, async () => {
    for (const [act, why] of [
      [(path: string) => writeFileSync(path, Buffer.alloc(65_536, 1), { flag: 'r+' }), /overwrote 65536 bytes/],
      [(path: string) => rmSync(path), /what the fleece takes cannot be looked at: ENOENT/],
    ] as const)
      await withFleece(async (fleece, path) => {
        act(path);
        await until(async () => !(await isServed(directory)));
        assert.match((await fleece.whyBroken())?.message ?? '', why);
      });
  });

  test('a look that is under way when it ends leaves the next fleece alone', { skip }, async (t) => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { stat } = fsPromises;
    const look = t.mock.method(fsPromises, 'stat', async (path: string) => {
      await held;
      return Object.assign(await stat(path), { blocks: 1 << 20 });
    });
    syncBuiltinESMExports();
    try {
      await withFleece(async () => await until(() => look.mock.callCount() > 0));
    } finally {
      look.mock.restore();
      syncBuiltinESMExports();
    }
    await withFleece(async (fleece) => {
      release();
      await sleep(300);
      assert.equal(await isServed(directory), true);
      assert.deepEqual(readdirSync(directory).sort(), ['fleece.nbd', 'fleece.qmp', 'image.raw']);
      assert.equal(await fleece.whyBroken(), undefined);
    });
  });

  test('a daemon whose monitor breaks off while it starts is started anew, once', { skip }, async () => {
    for (const failures of [1, 2]) {
      const storageDaemon = breakingDaemon(failures);
      const qemu = { ...(await readQemuProgram(directory)), storageDaemon };
      const isThere = withFleece(async (fleece) => assert.equal(await fleece.whyBroken(), undefined), qemu);
      if (failures === 1) await isThere;
      else await assert.rejects(isThere, { code: 'guest-failed', message: /fleece/ });
    }
  });

  async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
    for (let tries = 0; !(await isSo()); tries++) {
      assert.ok(tries < 200, 'in time');
      await sleep(50);
    }
  }

  /** Of a daemon that so many times greets, and ends at the first command: a program that is the real one after that. */
  function breakingDaemon(failures: number): string {
    const [path, count, fake] = ['daemon', 'count', 'fake.cjs'].map((name) => join(directory, `${failures}-${name}`));
    const greeting = '{"QMP":{"version":{"qemu":{"major":7,"minor":2,"micro":0},"package":""},"capabilities":[]}}';
    const lines = [
      `const at = process.argv.find((word) => word.startsWith('socket,')).match(/path=([^,]+)/)[1];`,
      `require('node:net').createServer((socket) => {`,
      `  socket.write(${JSON.stringify(`${greeting}\r\n`)});`,
      `  socket.on('data', (data) => {`,
      `    const { execute, id } = JSON.parse(data);`,
      `    if (execute !== 'qmp_capabilities') process.exit(1);`,
      `    socket.write(JSON.stringify({ return: {}, id }) + '\\r\\n');`,
      `  });`,
      `}).listen(at);`,
    ];
    writeFileSync(fake as string, lines.join('\n'));
    const script = [
      '#!/bin/sh',
      `n=$(cat ${count} 2>/dev/null || echo 0)`,
      `echo $((n + 1)) > ${count}`,
      `[ $n -ge ${failures} ] || exec ${process.execPath} ${fake} "$@"`,
      'exec qemu-storage-daemon "$@"',
    ];
    writeFileSync(path as string, script.join('\n'), { mode: 0o755 });
    return path as string;
  }

  /** With one image of a MiB, of which a few KiB may be taken. */
  async function withFleece(
    use: (fleece: Fleece, path: string) => Promise<void>,
    qemu?: Awaited<ReturnType<typeof readQemuProgram>>,
  ): Promise<void> {
    const path = join(directory, 'image.raw');
    writeFileSync(path, '');
    truncateSync(path, 1 << 20);
    const room = Promise.resolve({ images: [{ key: 'scsi0', path }], limitBytes: 16_384 });
    const options = { label: 'VM 101', directory, room };
    const fleece = await Fleece.start(qemu ?? (await readQemuProgram(directory)), options);
    try {
      await use(fleece, path);
    } finally {
      assert.equal(await fleece.end(), true);
    }
  }
});
