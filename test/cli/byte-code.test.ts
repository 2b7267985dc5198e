// The byte code that the build keeps of its bundles: V8 takes it, and without it, or with what is none, a command runs as ever.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import { PROGRAM, skipWithoutBuild } from '../support/crash/cli.ts';

const DIST = dirname(PROGRAM);
/** Beside dist/, for the packages are found from there. */
const COPY = join(DIST, '..', 'node_modules', '.cache', `byte-code-test-${process.pid}`);

suite('byte code', { skip: skipWithoutBuild() }, () => {
  const kept = readdirSync(DIST).filter((name) => name.endsWith('.bytecode'));

  test('is what the program and its threads start by, and V8 takes all of it', (t) => {
    t.after(() => rmSync(COPY, { recursive: true, force: true }));
    mkdirSync(COPY, { recursive: true });
    const [preload, said] = [join(COPY, 'preload.cjs'), join(COPY, 'said')];
    const [store, image] = [join(COPY, 'store'), join(COPY, 'image')];
    writeFileSync(
      preload,
      `const vm = require('node:vm');
       vm.Script = class extends vm.Script {
         constructor(source, options) {
           super(source, options);
           require('node:fs').appendFileSync(${JSON.stringify(said)}, options.filename + ' ' + this.cachedDataRejected + '\\n');
         }
       };
       const threads = require('node:worker_threads');
       threads.Worker = class extends threads.Worker {
         constructor(entry, options) {
           super(entry, { ...options, execArgv: ['--require', __filename] });
         }
       };`,
    );
    writeFileSync(image, Buffer.alloc(1 << 20, 'holdfast'));
    const run = (...args: string[]): void => {
      const child = spawnSync(process.execPath, ['--require', preload, PROGRAM, ...args, '--repository', store]);
      assert.equal(child.status, 0, child.stderr.toString());
    };
    run('datastore', 'create');
    writeFileSync(said, '');
    run('backup', '--group', 'vm/1', `disk.img:${image}`);
    const lines = readFileSync(said, 'utf8').trim().split('\n');
    for (const line of lines) assert.match(line, /\/dist\/\w+-\w+\.js false$/);
    const kinds = lines.map((line) => basename(line).split('-')[0]);
    assert.equal(kinds[0], 'holdfast');
    assert.deepEqual([...new Set(kinds)].sort(), ['chunk', 'holdfast', 'worker']);
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
