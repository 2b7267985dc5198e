// What the CLI stores, a reader that knows only docs/format.md restores: every kind of archive, what a killed backup left, and it
// notices damage wherever a check of the format should.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  cpSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { Blake3Hasher } from '@napi-rs/blake-hash';

const MIB = 1024 * 1024;
const CLI = ['dist/holdfast.js', '--output-format', 'json', '--repository'];

/** Bytes that look random, the same for the same seed. */
function noise(length: number, seed: number): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(Buffer.alloc(length));
}

function lines(length: number, seed: number): Buffer {
  const all = Array.from({ length: Math.ceil(length / 24) }, (_, n) => `${seed} ${n}\n`.padStart(24));
  return Buffer.from(all.join('')).subarray(0, length);
}

type Part = readonly [offset: number, content: Buffer];

/** A sparse file. */
function writeImage(path: string, length: number, parts: readonly Part[]): void {
  const fd = openSync(path, 'w');
  for (const [offset, content] of parts) writeSync(fd, content, 0, content.length, offset);
  closeSync(fd);
  truncateSync(path, length);
}

interface Said {
  readonly snapshot: string;
  readonly objectsAdopted: number;
}

function holdfast(store: string, args: readonly string[], input?: Buffer): Said {
  const result = spawnSync('node', [...CLI, store, ...args], { input: input ?? '', encoding: 'utf8' });
  assert.equal(result.status, 0, result.stderr);
  return (result.stdout === '' ? undefined : JSON.parse(result.stdout)) as Said;
}

const secondReader = (args: readonly string[]) =>
  spawnSync('node', ['test/support/second-reader.mjs', ...args], { encoding: 'utf8' });

function assertRestores(args: readonly string[], source: string, target: string): void {
  const result = secondReader([...args, target]);
  assert.equal(result.status, 0, result.stderr);
  assert.equal(statSync(target).size, statSync(source).size);
  assert.equal(spawnSync('cmp', [source, target]).status, 0, `${args.join(' ')} differs`);
  assert.ok(statSync(target).blocks <= statSync(source).blocks + 64, 'holes were filled');
  rmSync(target);
}

const packsOf = (store: string, suffix: string): string[] =>
  readdirSync(join(store, 'packs'))
    .filter((name) => name.endsWith(suffix))
    .map((name) => join(store, 'packs', name));

/** Section 6: bytes 64 to 79 of the header. */
const sessionOf = (pack: string): string => readFileSync(pack).toString('hex', 64, 80);

function flip(path: string, offset: number): void {
  const bytes = readFileSync(path);
  bytes.writeUInt8(bytes.readUInt8(offset) ^ 0x10, offset);
  writeFileSync(path, bytes);
}

/** The frames of a pack that is known to be good. */
function framesOf(pack: string): { offset: number; length: number; type: number; kind: number }[] {
  const bytes = readFileSync(pack);
  const frames = [];
  for (let offset = 128; offset < bytes.length; ) {
    const length = 16 + bytes.readUInt32LE(offset);
    frames.push({ offset, length, type: bytes.readUInt8(offset + 4), kind: bytes.readUInt8(offset + 21) });
    offset += length;
  }
  return frames;
}

/** Makes of a sealed pack one that was never sealed: no footer, a checkpoint behind the first half of its records. Section 6. */
function reopen(pack: string): void {
  const old = readFileSync(pack);
  const salt = old.subarray(32, 64);
  const parts: Buffer[] = [old.subarray(0, 128)];
  let end = 128;
  const append = (type: number, space: number, body: Buffer): void => {
    const head = Buffer.alloc(16);
    head.writeUInt32LE(body.length, 0);
    head.writeUInt8(type, 4);
    head.writeUInt32LE(space, 8);
    const place = Buffer.alloc(8);
    place.writeBigUInt64LE(BigInt(end));
    const tagged = [salt, place, head.subarray(0, 12), ...(type === 2 ? [] : [body.subarray(-16)])];
    head.writeUInt32LE(crc32(Buffer.concat(tagged)), 12);
    parts.push(head, body);
    end += 16 + body.length;
  };
  const records = framesOf(pack).filter(({ type }) => type === 1);
  const table: Buffer[] = [];
  for (const [n, { offset, length }] of records.entries()) {
    const body = old.subarray(offset + 16, offset + length);
    const entry = Buffer.alloc(48);
    body.copy(entry, 0, 24, 56);
    for (const [at, value] of [[36, end + 16] as const, [40, body.length] as const]) entry.writeUInt32LE(value, at);
    entry.writeUInt8(body.readUInt8(5), 44);
    table.push(entry);
    append(1, old.readUInt32LE(offset + 8), body);
    if (n !== records.length >> 1) continue;
    const gap = (4096 - (end % 4096)) % 4096;
    if (gap > 0) append(2, 0, Buffer.alloc((gap < 16 ? gap + 4096 : gap) - 16));
    const content = 16 + 48 * table.length;
    const checkpoint = Buffer.alloc(Math.ceil((16 + content + 16) / 4096) * 4096 - 16);
    checkpoint.writeUInt32LE(table.length, 0);
    Buffer.concat(table).copy(checkpoint, 16);
    const mac = Blake3Hasher.newKeyed(salt).update(checkpoint.subarray(0, -16)).digestBuffer();
    mac.copy(checkpoint, checkpoint.length - 16, 0, 16);
    append(3, 0, checkpoint);
  }
  writeFileSync(pack, Buffer.concat(parts));
  renameSync(pack, pack.replace('.pack', '.open'));
}

suite('the second reader', () => {
  const work = mkdtempSync(join(tmpdir(), 'second-reader-'));
  const store = join(work, 'store');
  const target = join(work, 'restored');
  const archives: { label: string; args: string[]; source: string }[] = [];

  const backup = (ns: string, group: string, sources: Record<string, string>, more: string[] = []): Said => {
    const nsOption = ns === '' ? [] : ['--ns', ns];
    const specs = Object.entries(sources).map(([archive, path]) => `${archive}:${path}`);
    const said = holdfast(store, [...nsOption, 'backup', '--group', group, ...more, ...specs]);
    for (const [archive, source] of Object.entries(sources)) {
      const label = `${ns} ${said.snapshot} ${archive}`;
      archives.push({ label, args: [...nsOption, store, said.snapshot, archive], source });
    }
    return said;
  };

  before(() => {
    const path = (name: string) => join(work, name);
    const parts: Part[] = [
      [0, noise(3 * MIB, 1)],
      [5 * MIB + 4096, lines(700_001, 2)],
      [16 * MIB - 5, lines(10, 3)],
      [50 * MIB, noise(90_000, 4)],
    ];
    writeImage(path('v1.img'), 70 * MIB + 777, parts);
    writeImage(path('zeros.img'), 40 * MIB + 1, []);
    writeImage(path('page.img'), 16 * MIB, [[0, noise(16 * MIB, 5)]]);
    writeImage(path('byte.img'), 1, [[0, Buffer.from('x')]]);
    writeImage(path('empty.img'), 0, []);
    // Over 1,024 pages: a list of lists, and lists of nothing but holes.
    writeImage(path('huge.img'), 17 * 1024 * MIB + 4097, [[16.5 * 1024 * MIB, noise(5000, 6)]]);
    writeFileSync(path('vm.conf'), 'cores: 4\n');
    writeFileSync(path('big.blob'), lines(2 * MIB, 7));
    writeFileSync(path('empty.log'), '');
    holdfast(store, ['datastore', 'create']);
    backup('', 'vm/101', { 'disk0.img': path('v1.img'), 'disk1.img': path('zeros.img'), 'vm.conf': path('vm.conf') });
    const odd = ['page', 'byte', 'empty'].map((name) => [`${name}.img`, path(`${name}.img`)]);
    backup('', 'ct/1', { ...Object.fromEntries(odd), 'big.blob': path('big.blob'), 'empty.log': path('empty.log') });

    writeImage(path('v2.img'), 70 * MIB + 777, [...parts, [20 * MIB, noise(200_000, 8)], [100, lines(50, 9)]]);
    const second = backup('', 'vm/101', { 'disk0.img': path('v2.img') });

    writeImage(path('v3.img'), 75 * MIB + 5, [...parts, [20 * MIB, lines(200_000, 10)], [100, lines(50, 9)]]);
    const disks = {
      'disk0.img': [
        { offset: 20 * MIB, length: 200_000 },
        { offset: 70 * MIB, length: 5 * MIB + 5 },
      ],
    };
    writeFileSync(path('map.json'), JSON.stringify({ base: second.snapshot, disks }));
    backup('', 'vm/101', { 'disk0.img': path('v3.img') }, ['--changed-since', path('map.json')]);

    backup('office/prod', 'vm/101', { 'disk0.img': path('v2.img'), 'vm.conf': path('vm.conf') });

    // Over 1,024 pieces, with a run of zeros inside.
    const tape = Buffer.concat([noise(40 * MIB, 11), Buffer.alloc(3 * MIB + 1), noise(40 * MIB, 12), lines(3, 13)]);
    writeFileSync(path('tape.img'), tape);
    const streamed = holdfast(store, ['backup', '--group', 'host/tape', 'tape.img:-'], tape);
    archives.push({ label: 'stream', args: [store, streamed.snapshot, 'tape.img'], source: path('tape.img') });
    const nothing = holdfast(store, ['backup', '--group', 'host/nothing', 'tape.img:-'], Buffer.alloc(0));
    archives.push({ label: 'no stream', args: [store, nothing.snapshot, 'tape.img'], source: path('empty.img') });
  });
  after(() => rmSync(work, { recursive: true, force: true }));

  /** A copy of the store that a test may break. */
  const copy = (): string => {
    const broken = mkdtempSync(join(work, 'copy-'));
    cpSync(store, broken, { recursive: true });
    return broken;
  };

  test('restores every archive of every snapshot', async (context) => {
    for (const { label, args, source } of archives) {
      await context.test(label.trim(), () => assertRestores(args, source, target));
    }
  });

  test('finds latest, and says what does not exist', () => {
    assertRestores(['--all', store, 'vm/101/latest', 'disk0.img'], join(work, 'v3.img'), target);
    const result = secondReader([store, 'vm/101/2001-01-01T00:00:00Z', 'disk0.img', target]);
    assert.equal(result.status, 1);
    assert.match(result.stderr, /no snapshot/);
  });

  test('restores a huge sparse image', () => {
    const said = holdfast(store, ['backup', '--group', 'vm/900', `disk0.img:${join(work, 'huge.img')}`]);
    const result = secondReader([store, said.snapshot, 'disk0.img', target]);
    assert.equal(result.status, 0, result.stderr);
    const start = String(16 * 1024 * MIB);
    assert.equal(statSync(target).size, statSync(join(work, 'huge.img')).size);
    assert.equal(spawnSync('cmp', ['-i', start, target, join(work, 'huge.img')]).status, 0);
    assert.ok(statSync(target).blocks < 64);
    rmSync(target);
  });

  test('reads what a killed backup left, as a retry does', { timeout: 120_000 }, async () => {
    const live = mkdtempSync(join(work, 'live-'));
    const found = mkdtempSync(join(work, 'found-'));
    holdfast(live, ['datastore', 'create']);
    const whole = noise(48 * MIB, 20);
    writeFileSync(join(work, 'whole.img'), whole);
    const child = spawn('node', [...CLI, live, 'backup', '--group', 'host/tape', 'tape.img:-'], {
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    child.stdin.on('error', () => undefined);
    child.stdin.write(whole.subarray(0, 32 * MIB));
    const written = () => packsOf(live, '.open').reduce((sum, pack) => sum + statSync(pack).size, 0);
    while (written() < 8 * MIB) await sleep(10);
    const closed = once(child, 'close');
    child.kill('SIGKILL');
    await closed;

    cpSync(live, found, { recursive: true });
    const sessions = readdirSync(join(found, 'sessions')).map((name) => name.slice(0, 32));
    assert.equal(sessions.length, 1);
    const retry = holdfast(live, ['backup', '--group', 'host/tape', 'tape.img:-'], whole);
    assert.ok(retry.objectsAdopted > 0);
    // The snapshot of the retry, but in place of what recovery copied, the open packs that it copied from.
    for (const pack of packsOf(live, '.pack')) if (sessions.includes(sessionOf(pack))) rmSync(pack);
    const without = secondReader([live, retry.snapshot, 'tape.img', target]);
    assert.equal(without.status, 1, 'the retry did not use what was left');
    for (const pack of packsOf(found, '.open')) cpSync(pack, join(live, 'packs', pack.slice(-37)));
    assertRestores([live, retry.snapshot, 'tape.img'], join(work, 'whole.img'), target);
  });

  test('goes on at the next checkpoint of an open pack, and holdfast agrees', () => {
    const broken = copy();
    rmSync(join(broken, 'index/snapshot'), { force: true });
    for (const pack of packsOf(broken, '.pack')) {
      reopen(pack);
      // The header of the first frame, not its record: the checkpoint's table still names the record.
      flip(pack.replace('.pack', '.open'), 128 + 12);
    }
    for (const { args, source } of archives.slice(0, 3)) {
      const [, snapshot = '', archive = ''] = args;
      assertRestores([broken, snapshot, archive], source, target);
    }
    for (const { args, source } of archives.slice(0, 3)) {
      const [, snapshot = '', archive = ''] = args;
      holdfast(broken, ['restore', snapshot, archive, target]);
      assert.equal(spawnSync('cmp', [source, target]).status, 0);
      rmSync(target);
    }
  });

  suite('notices a flipped byte', () => {
    type Frames = ReturnType<typeof framesOf>;
    type Place = (frames: Frames, size: number) => number | undefined;
    const record = (frames: Frames) => frames.find(({ type }) => type === 1);
    const footer = (frames: Frames) => frames.find(({ type }) => type === 4);
    const at = (frame: Frames[number] | undefined, offset: number) => frame && frame.offset + offset;
    const places: Record<string, Place> = {
      'in a header': () => 100,
      "in a frame's tag": (frames) => at(record(frames), 12),
      "in a frame's reserved bytes": (frames) => at(record(frames), 6),
      "in a record's id": (frames) => at(record(frames), 16 + 30),
      'in a payload': (frames) => at(record(frames), 16 + 56 + 2),
      "in a record's checksum": (frames) => at(record(frames), (record(frames)?.length ?? 0) - 1),
      'in the table of a footer': (frames) => at(footer(frames), 30),
      'in the zeros of a footer': (_, size) => size - 70,
      'in a trailer': (_, size) => size - 64 + 12,
      "in a trailer's mac": (_, size) => size - 1,
    };
    for (const [name, place] of Object.entries(places)) {
      test(name, () => {
        const broken = copy();
        let tried = 0;
        for (const pack of packsOf(broken, '.pack')) {
          const offset = place(framesOf(pack), statSync(pack).size);
          if (offset === undefined || tried >= 3) continue;
          tried++;
          flip(pack, offset);
          const result = secondReader(['--all', broken, 'vm/101/latest', 'disk0.img', target]);
          assert.equal(result.status, 1, `${pack} at ${offset}`);
          assert.match(result.stderr, /^second-reader: /);
          assert.doesNotMatch(result.stderr, /^ {4}at /m);
          flip(pack, offset);
        }
        assert.ok(tried > 0);
      });
    }

    test('in a manifest', () => {
      const broken = copy();
      const [first] = archives;
      assert.ok(first);
      const path = join(broken, 'snapshots', first.args[1] as string, 'manifest.json');
      writeFileSync(path, readFileSync(path, 'utf8').replace('"notes": ""', '"notes": "x"'));
      const result = secondReader([broken, first.args[1] as string, 'disk0.img', target]);
      assert.equal(result.status, 1);
      assert.match(result.stderr, /digest/);
    });

    test('also without --all, in what the archive needs', () => {
      const broken = copy();
      // Every data record: whatever the archive is made of is hit.
      for (const pack of packsOf(broken, '.pack')) {
        const bytes = readFileSync(pack);
        for (const { offset, length, type, kind } of framesOf(pack)) {
          if (type === 1 && kind === 1)
            bytes.writeUInt8(bytes.readUInt8(offset + length - 20) ^ 1, offset + length - 20);
        }
        writeFileSync(pack, bytes);
      }
      const result = secondReader([broken, 'vm/101/latest', 'disk0.img', target]);
      assert.equal(result.status, 1);
      assert.match(result.stderr, /a bad record at \d+\n/);
    });
  });
});
