import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { countCalls, FAULT_OPS, type FaultPlan, runWithFault, skipFaults } from './faults/faults.ts';
import { reasonForTools } from './power-cut/scratch.ts';

let root: string;
let folder: string;

/** Twelve records, each its own pwrite; reports every error and goes on. */
const RECORDS = `
  const fs = require('node:fs');
  const fd = fs.openSync(process.argv[1] + '/records', 'w');
  for (let n = 0; n < 12; n++) {
    try {
      const written = fs.writeSync(fd, Buffer.alloc(8192, 65 + n), 0, 8192, n * 8192);
      if (written !== 8192) console.log(n + 1, written);
      fs.fdatasyncSync(fd);
    } catch (error) {
      console.log(n + 1, error.syscall, error.code);
    }
  }`;

/** Each kind of call once or more, synchronous and from the thread pool. */
const EVERYTHING = `
  const fs = require('node:fs');
  const at = (name) => process.argv[1] + '/' + name;
  fs.mkdirSync(at('d'));
  const fd = fs.openSync(at('d/a.tmp'), 'w');
  fs.writeSync(fd, Buffer.alloc(100), 0, 100, 0);
  fs.writevSync(fd, [Buffer.alloc(10), Buffer.alloc(20)], 100);
  fs.writeSync(fd, 'appended');
  fs.fdatasyncSync(fd);
  fs.fsyncSync(fd);
  fs.ftruncateSync(fd, 50);
  fs.closeSync(fd);
  fs.renameSync(at('d/a.tmp'), at('d/a'));
  fs.linkSync(at('d/a'), at('d/b'));
  fs.unlinkSync(at('d/b'));
  fs.readFileSync(at('d/a'));
  fs.writeFileSync(at('../outside'), 'not counted');
  (async () => {
    const file = await fs.promises.open(at('p'), 'w');
    await file.write(Buffer.alloc(7), 0, 7, 0);
    await file.writev([Buffer.alloc(3), Buffer.alloc(4)]);
    await file.sync();
    await file.close();
    await fs.promises.rm(at('d'), { recursive: true });
    const directory = await fs.promises.open(process.argv[1]);
    await directory.sync();
    await directory.close();
  })();`;

const EXPECTED = [
  'mkdir /d',
  'open /d/a.tmp',
  'pwrite /d/a.tmp 100',
  'pwrite /d/a.tmp 30',
  'write /d/a.tmp 8',
  'fdatasync /d/a.tmp',
  'fsync /d/a.tmp',
  'ftruncate /d/a.tmp 50',
  'rename /d/a',
  'link /d/b',
  'unlink /d/b',
  'open /p',
  'pwrite /p 7',
  'write /p 7',
  'fsync /p',
  // rm tries this first.
  'rmdir /d',
  'unlink /d/a',
  'rmdir /d',
  'fsync ',
];

const run = (script: string, plan: Omit<FaultPlan, 'directory' | 'log'>, ...args: string[]) =>
  runWithFault(['-e', script, folder, ...args], { directory: folder, ...plan });
const record = (n: number) => readFileSync(join(folder, 'records')).subarray((n - 1) * 8192, n * 8192);
const isWhole = (n: number) => record(n).length === 8192 && record(n).every((byte) => byte === 64 + n);

suite('faults by LD_PRELOAD', { skip: skipFaults() }, () => {
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'hf-faults-test-'));
    folder = join(root, 'store');
    mkdirSync(folder);
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  test('counting changes nothing and sees every call below the directory', async () => {
    const { status, calls } = await run(EVERYTHING, { action: 'count' });
    assert.equal(status, 0);
    assert.deepEqual(
      calls.map((call) => `${call.op} ${call.path}${call.bytes ? ` ${call.bytes}` : ''}`),
      EXPECTED,
    );
    assert.deepEqual(
      calls.map((call) => call.number),
      EXPECTED.map((_, index) => index + 1),
    );
    const counts = countCalls(calls);
    for (const op of FAULT_OPS) assert.equal(counts[op], EXPECTED.filter((each) => each.split(' ')[0] === op).length);
  });

  test('counting agrees with strace', { skip: reasonForTools('strace') }, async () => {
    const { calls } = await run(EVERYTHING, { action: 'count' });
    const trace = join(root, 'trace');
    const wanted =
      'write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,ftruncate,truncate,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,open,openat,creat,fallocate,copy_file_range,sendfile';
    // -y prints the paths of descriptors.
    const args = [
      '-f',
      '-y',
      '-s',
      '0',
      '-e',
      `trace=${wanted}`,
      '-o',
      trace,
      process.execPath,
      '-e',
      EVERYTHING,
      folder,
    ];
    execFileSync('strace', args);
    const lines = readFileSync(trace, 'utf8').split('\n');
    const changes = lines
      .filter((line) => line.includes(folder) && !line.includes('/../outside') && !line.includes('resumed>'))
      .filter((line) => !/^\d+ +open/.test(line) || /O_CREAT|O_TRUNC/.test(line))
      .map((line) => line.replace(/^\d+ +/, '').split('(')[0]!);
    const names = changes.map((name) =>
      name.replace(/^p?writev?(64)?$/, (all) => (all[0] === 'p' ? 'pwrite' : 'write')).replace(/at$/, ''),
    );
    assert.deepEqual(
      names,
      calls.map((call) => call.op),
    );
  });

  test('exactly the n-th call fails', async () => {
    const { stdout, calls } = await run(RECORDS, { action: 'enospc', ops: ['pwrite'], nth: 5 });
    assert.equal(stdout, '5 write ENOSPC\n');
    assert.equal(countCalls(calls).fdatasync, 11);
    for (let n = 1; n <= 12; n++) assert.equal(isWhole(n), n !== 5);
  });

  test('syncs fail by number too', async () => {
    const { stdout } = await run(RECORDS, { action: 'eio', ops: ['fsync', 'fdatasync'], nth: 12 });
    assert.equal(stdout, '12 fdatasync EIO\n');
  });

  test('a sticky fault stays', async () => {
    const { stdout } = await run(RECORDS, { action: 'eio', ops: ['pwrite'], nth: 11, sticky: true });
    assert.equal(stdout, '11 write EIO\n12 write EIO\n');
  });

  test('after a short write libuv writes the rest', async () => {
    const { stdout, calls } = await run(RECORDS, { action: 'short', ops: ['pwrite'], nth: 3 });
    assert.equal(stdout, '');
    const writes = calls.filter((call) => call.op === 'pwrite');
    assert.equal(writes.length, 13);
    assert.deepEqual([writes[2]!.bytes, writes[3]!.bytes], [8192, 4096]);
    assert.equal(statSync(join(folder, 'records')).size, 12 * 8192);
    for (let n = 1; n <= 12; n++) assert.ok(isWhole(n));
  });

  test('a full disk takes half of one write and nothing more', async () => {
    const { stdout } = await run(RECORDS, { action: 'full', ops: ['pwrite'], nth: 10 });
    assert.equal(stdout, '10 4096\n11 write ENOSPC\n12 write ENOSPC\n');
    assert.equal(statSync(join(folder, 'records')).size, 10 * 8192 - 4096);
  });

  test('a kill leaves exactly the calls before it done', async () => {
    for (const nth of [1, 7, 12]) {
      const { signal, calls } = await run(RECORDS, { action: 'kill', ops: ['pwrite'], nth });
      assert.equal(signal, 'SIGKILL');
      assert.equal(calls.at(-1)!.number, nth);
      assert.equal(statSync(join(folder, 'records')).size, (nth - 1) * 8192);
      for (let n = 1; n < nth; n++) assert.ok(isWhole(n));
    }
  });

  test('a tear leaves half of the last one', async () => {
    const { signal } = await run(RECORDS, { action: 'tear', ops: ['pwrite'], nth: 3 });
    assert.equal(signal, 'SIGKILL');
    assert.equal(statSync(join(folder, 'records')).size, 2 * 8192 + 4096);
  });

  test('every call of a commit is a kill point', async () => {
    const { calls } = await run(EVERYTHING, { action: 'count' });
    for (const call of calls.slice(0, 11)) {
      rmSync(folder, { recursive: true });
      mkdirSync(folder);
      const killed = await run(EVERYTHING, { action: 'kill', nth: call.number });
      assert.equal(killed.signal, 'SIGKILL');
      assert.deepEqual(killed.calls, calls.slice(0, call.number));
      assert.equal(existsSync(join(folder, 'd')), call.number > 1);
      assert.equal(existsSync(join(folder, 'd/a.tmp')), call.number > 2 && call.number <= 9);
      assert.equal(existsSync(join(folder, 'd/a')), call.number > 9);
      assert.equal(existsSync(join(folder, 'd/b')), call.number === 11);
    }
  });

  test('the same n-th call of one kind', async () => {
    for (const [op, path] of [
      ['rename', '/d/a'],
      ['unlink', '/d/b'],
      ['open', '/d/a.tmp'],
      ['mkdir', '/d'],
      ['ftruncate', '/d/a.tmp'],
    ] as const) {
      rmSync(folder, { recursive: true });
      mkdirSync(folder);
      const { status, stderr, calls } = await run(EVERYTHING, { action: 'eacces', ops: [op] });
      assert.equal(status, 1);
      assert.match(stderr, new RegExp(`EACCES.*${op}`, 's'));
      assert.deepEqual([calls.at(-1)!.op, calls.at(-1)!.path, calls.at(-1)!.number], [op, path, 1]);
    }
  });

  test('calls of several threads are numbered once', async () => {
    const script = `
      const { Worker } = require('node:worker_threads');
      const work = "const fs = require('node:fs'); const { path } = require('node:worker_threads').workerData;" +
        "const fd = fs.openSync(path, 'w'); for (let n = 0; n < 250; n++) fs.writeSync(fd, Buffer.alloc(10), 0, 10, n * 10)";
      for (const name of 'abcd') new Worker(work, { eval: true, workerData: { path: process.argv[1] + '/' + name } });`;
    const { calls } = await run(script, { action: 'count', ops: ['pwrite'] });
    const numbers = calls.map((call) => call.number).filter((number) => number > 0);
    assert.deepEqual(
      numbers.sort((a, b) => a - b),
      Array.from({ length: 1000 }, (_, index) => index + 1),
    );
    for (const name of readdirSync(folder)) rmSync(join(folder, name));
    const killed = await run(script, { action: 'kill', ops: ['pwrite'], nth: 500 });
    assert.equal(killed.signal, 'SIGKILL');
    const done = readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size / 10, 0);
    // A call of another thread may have its number and not have begun.
    assert.ok(done <= 499 && done >= 496, `${done} writes`);
  });

  test('SQLite is counted, and left out by the name of its file', async () => {
    const module = JSON.stringify(createRequire(import.meta.url).resolve('better-sqlite3'));
    const script = `
      const db = require(${module})(process.argv[1] + '/lock.db');
      db.exec('create table t (x); insert into t values (1)');
      db.close();
      require('node:fs').writeFileSync(process.argv[1] + '/mine', 'x');`;
    const all = countCalls((await run(script, { action: 'count' })).calls);
    assert.ok(all.pwrite + all.write > 3 && all.fsync + all.fdatasync > 0, JSON.stringify(all));
    const mine = ['open /mine', 'write /mine'];
    for (const exclusion of [{ exclude: ['lock.db'] }, { excludeSqlite: true }]) {
      rmSync(join(folder, 'lock.db'));
      const plan = { action: 'eio', sticky: true, ops: ['pwrite', 'ftruncate'], ...exclusion } as const;
      const { status, calls } = await run(script, plan);
      assert.equal(status, 0);
      // By name, what remains of SQLite are its syncs of the directory.
      const seen = calls.map((call) => `${call.op} ${call.path}`);
      assert.deepEqual(exclusion.exclude ? seen.filter((call) => call !== 'fsync ') : seen, mine);
    }
  });

  test('only chosen paths, and only while a file exists', async () => {
    const script = `
      const fs = require('node:fs');
      const [, folder, armed] = process.argv;
      const attempt = (name) => {
        try {
          fs.writeFileSync(folder + '/' + name, name);
        } catch (error) {
          console.log(name, error.code);
        }
      };
      attempt('pack-1');
      fs.writeFileSync(armed, '');
      attempt('pack-2');
      attempt('other');
      fs.rmSync(armed);
      attempt('pack-3');`;
    const armed = join(root, 'armed');
    const plan = { action: 'enospc', ops: ['write'], sticky: true, only: ['pack'], whileFile: armed } as const;
    const { stdout } = await run(script, plan, armed);
    assert.equal(stdout, 'pack-2 ENOSPC\n');
  });

  test('children of the process are left alone', async () => {
    const script = `
      const { execFileSync } = require('node:child_process');
      execFileSync(process.execPath, ['-e', 'require("node:fs").writeFileSync(process.argv[1], "x")', process.argv[1] + '/child']);`;
    const { status, calls } = await run(script, { action: 'kill' });
    assert.equal(status, 0);
    assert.deepEqual(calls, []);
  });

  test('relative paths and symbolic links are the same directory', async () => {
    const script = `
      const fs = require('node:fs');
      fs.symlinkSync(process.argv[1], process.argv[1] + '/../link');
      fs.writeFileSync(process.argv[1] + '/../link/a', '');
      process.chdir(process.argv[1]);
      fs.writeFileSync('b', '');
      fs.renameSync('b', '../c');`;
    writeFileSync(join(root, 'store-neighbour'), '');
    const { calls } = await run(script, { action: 'count', ops: ['open', 'rename'] });
    assert.deepEqual(
      calls.map((call) => `${call.op} ${call.path}`),
      ['open /a', 'open /b', 'rename /b'],
    );
  });
});
