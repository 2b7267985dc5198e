// What is asked of a QEMU program once: with programs of the test's own, which count their calls.
import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { probedAccelerator } from '../../../src/guests/qemu/accelerator.ts';
import { machineTypes } from '../../../src/guests/qemu/machine-type.ts';
import type { QemuProgram } from '../../../src/guests/qemu/qemu-program.ts';

const HELP =
  'Supported machines are:\npc   Standard PC (alias of pc-i440fx-7.2)\nq35   Standard PC\nnone   empty machine\n';

class CountedProgram {
  readonly runPath: string;
  readonly path: string;
  readonly #calls: string;

  constructor(t: TestContext, body: string) {
    const directory = mkdtempSync(join(tmpdir(), 'hf-answer-'));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    this.runPath = join(directory, 'run');
    this.path = join(directory, 'my-qemu');
    this.#calls = join(directory, 'calls');
    writeFileSync(this.#calls, '');
    writeFileSync(this.path, `#!/bin/sh\necho "$*" >> ${this.#calls}\n${body}\n`, { mode: 0o755 });
  }

  qemu(more: Partial<QemuProgram> = {}): QemuProgram {
    return { program: this.path, args: [], storageDaemon: 'none', environment: {}, ...more };
  }

  get calls(): number {
    return readFileSync(this.#calls, 'utf8').split('\n').length - 1;
  }
}

const helping = `cat <<'END'\n${HELP}END`;

test('machine types are asked once, and again of a QEMU that was changed or is called otherwise', async (t) => {
  const counted = new CountedProgram(t, helping);
  const { runPath, path } = counted;
  const ask = (more: Partial<QemuProgram> = {}) => machineTypes(counted.qemu(more), runPath);
  assert.deepEqual(await ask(), ['pc', 'q35', 'none']);
  assert.deepEqual(await ask(), ['pc', 'q35', 'none']);
  assert.equal(counted.calls, 1);
  utimesSync(path, 1_000_000, 1_000_000);
  await ask();
  assert.equal(counted.calls, 2);
  await ask({ args: ['-L', '/elsewhere'] });
  await ask({ args: ['-L', '/elsewhere'] });
  assert.equal(counted.calls, 3);
  await ask({ environment: { QEMU_MODULE_DIR: '/elsewhere' } });
  assert.equal(counted.calls, 4);
});

test('a program on the search path is known by its file, too', async (t) => {
  const counted = new CountedProgram(t, helping);
  const before = process.env.PATH;
  t.after(() => {
    process.env.PATH = before;
  });
  process.env.PATH = [dirname(counted.path), before].join(delimiter);
  const ask = () => machineTypes(counted.qemu({ program: 'my-qemu' }), counted.runPath);
  await ask();
  await ask();
  assert.equal(counted.calls, 1);
  utimesSync(counted.path, 1_000_000, 1_000_000);
  await ask();
  assert.equal(counted.calls, 2);
});

test('an answer that cannot be read is asked again, two may ask at once, and no refusal is kept', async (t) => {
  const counted = new CountedProgram(t, helping);
  const ask = () => machineTypes(counted.qemu(), counted.runPath);
  const both = await Promise.all([ask(), ask()]);
  assert.deepEqual(both[0], both[1]);
  const [kept = ''] = readdirSync(counted.runPath);
  assert.deepEqual(readdirSync(counted.runPath), [kept]);
  appendFileSync(join(counted.runPath, kept), 'x');
  const calls = counted.calls;
  assert.deepEqual(await ask(), ['pc', 'q35', 'none']);
  assert.equal(counted.calls, calls + 1);

  const refusing = new CountedProgram(t, 'exit 1');
  for (const times of [1, 2]) {
    await assert.rejects(machineTypes(refusing.qemu(), refusing.runPath), { code: 'guest-failed' });
    assert.equal(refusing.calls, times);
  }
  await assert.rejects(machineTypes(counted.qemu({ program: '/nowhere/qemu' }), counted.runPath), {
    code: 'tool-missing',
  });
});

test('KVM that runs a boot sector is remembered, and KVM that does not; that it took too long is not', async (t) => {
  for (const [body, accelerator] of [
    ['exit 33', 'kvm'],
    ['exit 35', 'tcg'],
    ['exit 1', 'tcg'],
    ['exit 0', 'tcg'],
  ] as const) {
    const counted = new CountedProgram(t, body);
    for (let times = 0; times < 2; times++)
      assert.equal(await probedAccelerator(counted.qemu(), counted.runPath), accelerator);
    assert.equal(counted.calls, 1, body);
  }
  const slow = new CountedProgram(t, 'exec sleep 60');
  for (const times of [1, 2]) {
    assert.equal(await probedAccelerator(slow.qemu(), slow.runPath, { timeoutMs: 300 }), 'tcg');
    assert.equal(slow.calls, times);
  }
});
