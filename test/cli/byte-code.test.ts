// The byte code that the build keeps of its bundles: V8 takes it, and without it, or with what is none, a command runs as ever.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import { PROGRAM, skipWithoutBuild } from '../support/crash/cli.ts';
import { reasonForTools } from '../support/power-cut/scratch.ts';

const DIST = dirname(PROGRAM);
/** Beside dist/, for the packages are found from there. */
const COPY = join(DIST, '..', 'node_modules', '.cache', `byte-code-test-${process.pid}`);

suite('byte code', { skip: skipWithoutBuild() }, () => {
  const kept = readdirSync(DIST).filter((name) => name.endsWith('.bytecode'));

  /** Runs the command as it is, and says which bundles V8 took byte code for, and which flags were set in between. */
  function watched(...args: string[]): string[] {
    const [preload, said] = [join(COPY, 'preload.cjs'), join(COPY, 'said')];
    writeFileSync(
      preload,
      `const { appendFileSync } = require('node:fs');
       const say = (text) => appendFileSync(${JSON.stringify(said)}, text + '\\n');
       const vm = require('node:vm');
       vm.Script = class extends vm.Script {
         constructor(source, options) {
           super(source, options);
           say(options.filename + ' ' + this.cachedDataRejected);
         }
       };
       const threads = require('node:worker_threads');
       threads.Worker = class extends threads.Worker {
         constructor(entry, options) {
           super(entry, { ...options, execArgv: ['--require', __filename] });
         }
       };
       const v8 = require('node:v8');
       const { setFlagsFromString } = v8;
       v8.setFlagsFromString = (flags) => {
         say(flags);
         setFlagsFromString(flags);
       };`,
    );
    writeFileSync(said, '');
    const child = spawnSync(process.execPath, ['--require', preload, PROGRAM, ...args]);
    assert.equal(child.status, 0, child.stderr.toString());
    return readFileSync(said, 'utf8').trim().split('\n');
  }

  test('is what the program and its threads start by, and V8 takes all of it', (t) => {
    t.after(() => rmSync(COPY, { recursive: true, force: true }));
    mkdirSync(COPY, { recursive: true });
    const [store, image] = [join(COPY, 'store'), join(COPY, 'image')];
    writeFileSync(image, Buffer.alloc(1 << 20, 'holdfast'));
    watched('datastore', 'create', '--repository', store);
    const lines = watched('backup', '--group', 'vm/1', `disk.img:${image}`, '--repository', store);
    for (const line of lines) assert.match(line, /\/dist\/\w+-\w+\.js false$/);
    const kinds = lines.map((line) => basename(line).split('-')[0]);
    assert.equal(kinds[0], 'holdfast');
    assert.deepEqual([...new Set(kinds)].sort(), ['chunk', 'holdfast', 'worker']);
  });

  test('of a backup of a virtual machine as well, whose threads optimize later once they have it', (t) => {
    const missing = reasonForTools('qemu-storage-daemon');
    if (missing) return t.skip(missing);
    t.after(() => rmSync(COPY, { recursive: true, force: true }));
    const [store, node] = [join(COPY, 'store'), join(COPY, 'node')];
    mkdirSync(join(node, 'qemu-server'), { recursive: true });
    writeFileSync(join(node, 'qemu-server', '100.conf'), 'memory: 512\n');
    watched('datastore', 'create', '--repository', store);
    const lines = watched('vm', 'backup', '100', '--node-dir', node, '--repository', store, '--workers', '2');
    const flags = lines.findIndex((line) => line.startsWith('--'));
    assert.match(lines[flags] as string, /^--interrupt-budget=\d+$/);
    const bundles = lines.filter((_, place) => place !== flags);
    for (const line of bundles) assert.match(line, /\/dist\/\w+-\w+\.js false$/);
    const threads = lines.flatMap((line, place) => (basename(line).startsWith('worker-') ? [place] : []));
    assert.equal(threads.length, 2);
    for (const place of threads)
      assert.ok(place < flags, 'a thread came after the flags, and had its byte code refused');
  });

  test('that is missing, cut off or none at all changes nothing', (t) => {
    t.after(() => rmSync(COPY, { recursive: true, force: true }));
    cpSync(DIST, COPY, { recursive: true, filter: (path) => !path.endsWith('.map') && !path.endsWith('bench') });
    const store = join(COPY, 'store');
    const image = join(COPY, 'image');
    writeFileSync(image, Buffer.alloc(1 << 20, 'holdfast'));
    const run = (...args: string[]): string => {
      const child = spawnSync(process.execPath, [join(COPY, 'holdfast.js'), ...args, '--repository', store]);
      assert.equal(child.status, 0, child.stderr.toString());
      return child.stdout.toString();
    };
    run('datastore', 'create');
    const spoil = {
      'cut off': (path: string) => writeFileSync(path, readFileSync(path).subarray(0, 1000)),
      none: (path: string) => writeFileSync(path, 'no byte code'),
      missing: (path: string) => rmSync(path),
    };
    for (const [what, change] of Object.entries(spoil)) {
      for (const name of kept) change(join(COPY, name));
      run('backup', '--group', 'vm/1', `${what.replace(' ', '-')}.img:${image}`);
    }
    assert.equal(run('snapshot', 'list').match(/vm\/1\//g)?.length, 3);
  });
});
