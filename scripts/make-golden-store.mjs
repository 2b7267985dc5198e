// Makes test/vectors/golden-store.tar.zst and golden-store.json: a small datastore written by this version of the CLI, and what
// its archives restore to. Usage: npm run build && node scripts/make-golden-store.mjs
// Only run it when the format changes on purpose (test/e2e/golden-store.test.ts says when that is); commit both files.
import { execFileSync } from 'node:child_process';
import { createCipheriv, createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compress } from 'zstd-napi';

const root = fileURLToPath(new URL('..', import.meta.url));
const vectors = join(root, 'test/vectors');
const work = mkdtempSync(join(tmpdir(), 'holdfast-golden-'));
const store = join(work, 'store');
const MAX_BYTES = 300 * 1024;

/** The same "random" bytes on every run. */
const noise = (length, name) => createCipheriv('aes-128-ctr', createHash('md5').update(name).digest(), Buffer.alloc(16)).update(Buffer.alloc(length));
const text = (length, name) => Buffer.from(Array.from({ length: Math.ceil(length / 32) }, (_, n) => `${name} line ${n}\n`.padStart(32)).join('')).subarray(0, length);

/** An image of `length` bytes with some parts; the rest is zeros. */
function image(length, parts) {
  const bytes = Buffer.alloc(length);
  for (const [offset, content] of parts) content.copy(bytes, offset);
  return bytes;
}

const holdfast = (args, input) =>
  execFileSync(process.execPath, [join(root, 'dist/holdfast.js'), '--repository', store, '--output-format', 'json', ...args], { input });

const expectation = (ns, snapshot, archive, content) =>
  ({ ns, snapshot, archive, sizeBytes: content.length, sha256: createHash('sha256').update(content).digest('hex') });
const archives = [];
/** Backs up {archive: content} as one snapshot, which must get the label asked for. */
function backup(ns, snapshot, contents, more = []) {
  const cut = snapshot.lastIndexOf('/');
  const specs = Object.entries(contents).map(([name, content]) => {
    writeFileSync(join(work, name), content);
    archives.push(expectation(ns, snapshot, name, content));
    return `${name}:${join(work, name)}`;
  });
  const place = ['--group', snapshot.slice(0, cut), '--time', snapshot.slice(cut + 1)];
  const said = JSON.parse(holdfast([...(ns === '' ? [] : ['--ns', ns]), 'backup', ...place, ...more, ...specs]));
  if (said.snapshot !== snapshot) throw new Error(`the snapshot is ${said.snapshot}, not ${snapshot}`);
}

try {
  holdfast(['datastore', 'create']);
  // Three pages: one with data and a hole between, one of zeros, a short last one that is no multiple of 4 KiB.
  const parts = [[0, noise(60_000, 'a')], [1_000_000, text(2_000_000, 'disk')], [33_554_432 + 4096, text(100_000, 'tail')]];
  const first = image(33_554_432 + 300_001, parts);
  const second = image(first.length, [...parts, [200_000, noise(20_000, 'b')], [5_000_000, text(50_000, 'more')]]);
  const conf = Buffer.from('cores: 4\nmemory: 2048\n');
  backup('', 'vm/101/2026-01-01T00:00:00Z', { 'disk0.img': first, 'empty.img': Buffer.alloc(0), 'vm.conf': conf });
  backup('', 'vm/101/2026-01-02T00:00:00Z', { 'disk0.img': second, 'vm.conf': conf });
  const map = join(work, 'map.json');
  const third = image(first.length, [...parts, [200_000, noise(20_000, 'b')], [5_000_000, text(50_000, 'changed')]]);
  const changed = [{ offset: 5_000_000, length: 50_000 }];
  writeFileSync(map, JSON.stringify({ base: 'vm/101/2026-01-02T00:00:00Z', disks: { 'disk0.img': changed } }));
  backup('', 'vm/101/2026-01-03T00:00:00Z', { 'disk0.img': third }, ['--changed-since', map]);
  backup('office/prod', 'ct/7/2026-01-01T00:00:00Z', { 'root.img': image(1, [[0, Buffer.from('x')]]), 'ct.conf': Buffer.alloc(0) });
  // A stream of more than 1,024 pieces (by repetition, so that it stays small here) has a list of lists; zeros are holes of a list.
  const repeated = Buffer.concat(Array.from({ length: 160 }, () => text(1024 * 1024, 'stream')));
  const stream = Buffer.concat([repeated, Buffer.alloc(2 * 1024 * 1024), noise(40_000, 'c')]);
  archives.push(expectation('', 'host/tape/2026-01-01T00:00:00Z', 'tape.img', stream));
  holdfast(['backup', '--group', 'host/tape', '--time', '2026-01-01T00:00:00Z', 'tape.img:-'], stream);

  const sameEverywhere = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--format=ustar'];
  const tar = execFileSync('tar', ['-C', work, ...sameEverywhere, '-cf', '-', 'store'], { maxBuffer: 64 * 1024 * 1024 });
  const packed = compress(tar, { compressionLevel: 19 });
  if (packed.length > MAX_BYTES) throw new Error(`the golden store has ${packed.length} bytes; keep it under ${MAX_BYTES}`);
  writeFileSync(join(vectors, 'golden-store.tar.zst'), packed);
  writeFileSync(join(vectors, 'golden-store.json'), `${JSON.stringify({ archives }, undefined, 1)}\n`);
  const { features } = JSON.parse(readFileSync(join(store, 'datastore.json'), 'utf8'));
  console.log(`golden-store.tar.zst: ${packed.length} bytes, ${archives.length} archives, features ${JSON.stringify(features)}`);
} finally {
  rmSync(work, { recursive: true, force: true });
}
