import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadCutModule } from '../../src/chunker/cut-module.ts';
import { diskCutParameters, streamCutParameters } from '../../src/chunker/cut-parameters.ts';
import { createCutter } from '../../src/chunker/cutter.ts';
import { drawPage, xorshiftBytes } from './cut-inputs.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const committed = readFileSync(join(root, 'src/chunker/chunker.wasm'));

test('the committed WebAssembly is what its source compiles to', () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-wasm-'));
  try {
    const rebuilt = join(folder, 'chunker.wasm');
    const source = ['src/chunker/wasm/chunker.ts', '--config', 'src/chunker/wasm/asconfig.json'];
    execFileSync(process.execPath, ['node_modules/assemblyscript/bin/asc.js', ...source, '--outFile', rebuilt], {
      cwd: root,
    });
    assert.ok(readFileSync(rebuilt).equals(committed), 'run `npm run build:wasm`');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('it imports a memory of any size, and nothing else', () => {
  const { imports } = WebAssembly.Module as unknown as { imports(module: WebAssembly.Module): unknown };
  assert.deepEqual(imports(loadCutModule()), [{ module: 'env', name: 'memory', kind: 'memory' }]);
  for (const limits of [{ initial: 1 }, { initial: 1024 }, { initial: 3, maximum: 5 }]) {
    assert.ok(createCutter(new WebAssembly.Memory(limits), loadCutModule()).isZero(0, 65_536));
  }
});

test('it has no start function and no data segments', () => {
  const START = 8;
  const DATA = 11;
  const sections: number[] = [];
  for (let at = 8; at < committed.length; ) {
    sections.push(committed[at++]);
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = committed[at++];
      size |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    at += size;
  }
  assert.ok(sections.length > 4);
  assert.ok(!sections.includes(START) && !sections.includes(DATA), `sections ${sections}`);
});

test('it never writes to the memory', () => {
  const memory = new WebAssembly.Memory({ initial: 32 });
  const bytes = new Uint8Array(memory.buffer);
  bytes.set(xorshiftBytes(6, bytes.length));
  bytes.fill(0, 500_000, 600_000);
  const before = bytes.slice();
  const cutter = createCutter(memory);
  cutter.setDisk(diskCutParameters());
  cutter.setStream(streamCutParameters());
  for (let at = 0; at < bytes.length; ) at += Math.abs(cutter.nextDisk(at, bytes.length - at, true, false));
  for (let at = 0; at < bytes.length; ) at += cutter.nextStream(at, bytes.length - at, true);
  cutter.isZero(500_000, 90_000);
  assert.ok(Buffer.from(bytes.buffer).equals(Buffer.from(before.buffer)));
});

test('cutters over one memory keep their parameters apart', () => {
  const memory = new WebAssembly.Memory({ initial: 32 });
  new Uint8Array(memory.buffer).set(xorshiftBytes(6, 32 * 65_536));
  const small = createCutter(memory);
  small.setStream(streamCutParameters(16 * 1024));
  const first = small.nextStream(0, 32 * 65_536, true);
  createCutter(memory).setStream(streamCutParameters(1024 * 1024));
  assert.equal(small.nextStream(0, 32 * 65_536, true), first);
});

test('nothing available is no piece', () => {
  const cutter = createCutter(new WebAssembly.Memory({ initial: 1 }));
  cutter.setDisk(diskCutParameters());
  cutter.setStream(streamCutParameters());
  for (const final of [false, true]) {
    assert.equal(cutter.nextDisk(0, 0, final, false), 0);
    assert.equal(cutter.nextDisk(65_536, 0, final, true), 0);
    assert.equal(cutter.nextStream(65_536, 0, final), 0);
  }
});

test('isZero sees every byte of its range and no other', () => {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const bytes = new Uint8Array(memory.buffer);
  const cutter = createCutter(memory);
  for (const length of [0, 1, 2, 15, 16, 17, 31, 127, 128, 129, 300, 4096]) {
    const start = bytes.length - length;
    bytes.fill(0);
    if (length < bytes.length) bytes[start - 1] = 1;
    assert.equal(cutter.isZero(start, length), true, `${length} zeros at the end of the memory`);
    const before = start - length;
    bytes.fill(0xff, start);
    assert.equal(cutter.isZero(before, Math.max(0, length - 1)), true, 'neighbours do not count');
    bytes.fill(0);
    for (let at = start; at < bytes.length; at++) {
      bytes[at] = 0x80;
      assert.equal(cutter.isZero(start, length), false, `byte ${at - start} of ${length}`);
      bytes[at] = 0;
    }
  }
});

test('a page that ends with the memory is read to its last byte and no further', () => {
  const memory = new WebAssembly.Memory({ initial: 2 });
  const cutter = createCutter(memory);
  cutter.setDisk(diskCutParameters());
  cutter.setStream(streamCutParameters());
  for (const tail of [1, 15, 16, 100, 4095]) {
    const page = drawPage('xx0', tail);
    const start = memory.buffer.byteLength - page.length;
    new Uint8Array(memory.buffer).set(page, start);
    assert.equal(cutter.nextDisk(start, page.length, true, false), page.length);
    assert.equal(cutter.nextStream(start, page.length, true), page.length);
  }
});
