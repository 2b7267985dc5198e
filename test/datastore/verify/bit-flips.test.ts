// Random bits flip in live bytes of packs: verification names every one with snapshot and range, no restore gives a wrong byte without
// saying so, and nothing crashes. HOLDFAST_CRASH_SCALE and HOLDFAST_CRASH_SEED make it longer or another one (about 17 for 1,000 flips).
import assert from 'node:assert/strict';
import { closeSync, cpSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, before, test } from 'node:test';
import { runRestore } from '../../../src/agent/restore/run-restore.ts';
import { parseList } from '../../../src/chunker/list.ts';
import { ID_BYTES, Kind, type ObjectId } from '../../../src/chunker/object.ts';
import { parsePage } from '../../../src/chunker/page.ts';
import { readTableEntry, TABLE_ENTRY_BYTES } from '../../../src/datastore/packs/pack-format.ts';
import { readSealedPack } from '../../../src/datastore/packs/pack-scan.ts';
import { ReadDatastore } from '../../../src/datastore/read-datastore.ts';
import { allSnapshots, type NamedManifest } from '../../../src/datastore/verify/snapshot-damage.ts';
import type { VerifyReport } from '../../../src/datastore/verify/verify-store.ts';
import { WorkerPool } from '../../../src/util/worker-pool.ts';
import { pattern } from '../../agent/nbd/servers.ts';
import { newPlace, type Place } from '../../cli/holdfast.ts';
import { ciPlan } from '../../support/crash/plan.ts';
import { NO_SIGNAL, OpenStore } from '../../support/store.ts';

const MIB = 1 << 20;
const { kills, seed } = ciPlan();
/** 60 in CI. */
const FLIPS = kills * 3;
const FLIPS_A_ROUND = 4;

interface Range {
  readonly offset: number;
  readonly length: number;
}
/** `NS|SNAPSHOT ARCHIVE` -> ranges, joined and in order. */
type Damage = Record<string, Range[]>;

let place: Place;
/** The bytes of every archive, and by object id the ranges that need it. */
const contents = new Map<string, Buffer>();
const uses = new Map<string, [archive: string, Range][]>();
const metadata = new Set<string>();
const ended: (() => void)[] = [];

before(async () => {
  place = await newPlace({ after: (end) => ended.push(end) });
  const disk = pattern(20 * MIB, 1).fill(0, 6 * MIB, 9 * MIB);
  // Seldom more than two bits of a byte are set: this compresses.
  for (let at = 0; at < 4 * MIB; at++) disk[at]! &= 0x11;
  const save = (name: string, bytes: Uint8Array): string => {
    writeFileSync(place.path(name), bytes);
    return place.path(name);
  };
  const conf = save('a.conf', Buffer.from('cores: 4\n'.repeat(2000)));
  await place.run('backup', '--group', 'vm/101', `disk0.img:${save('one', disk)}`, `a.conf:${conf}`);
  disk.set(pattern(2 * MIB, 9), 12 * MIB + 4096);
  await place.run('backup', '--group', 'vm/101', `disk0.img:${save('two', disk)}`);
  await place.run(
    'backup',
    '--ns',
    'office',
    '--group',
    'vm/101',
    `disk0.img:${save('three', disk.subarray(0, 10 * MIB))}`,
  );
  const stream = await place.try(['backup', '--group', 'host/a', 'dump.img:-'], { stdin: pattern(3 * MIB, 5) });
  assert.equal(stream.code, 0, stream.stderr);
  await learn(place.repository);
});
after(() => {
  for (const end of ended) end();
});

const keyOf = ({ name, manifest }: NamedManifest, archive: string): string =>
  `${name.ns}|${manifest.client.backup}/${manifest.server.sequence} ${archive}`;

/** Walks the whole store as it was made: what each object is needed for. */
async function learn(repository: string): Promise<void> {
  const store = await ReadDatastore.open(repository);
  try {
    const { source } = store.objects(Number.POSITIVE_INFINITY);
    for (const snapshot of (await allSnapshots(store.groups)).good) {
      for (const archive of snapshot.manifest.client.archives) {
        const key = keyOf(snapshot, archive.name);
        const bytes = Buffer.alloc(archive.sizeBytes);
        contents.set(key, bytes);
        const visit = (id: ObjectId, range: Range): void => {
          const name = id.toString('hex');
          uses.set(name, [...(uses.get(name) ?? []), [key, range]]);
          const { kind, refs, payload } = source.get(0, id);
          if (kind !== Kind.data) metadata.add(name);
          if (kind === Kind.page) {
            for (const { ref, offset, length } of parsePage(payload, refs.length / ID_BYTES))
              if (ref >= 0)
                visit(Buffer.from(refs.subarray(ref * ID_BYTES, (ref + 1) * ID_BYTES)) as ObjectId, {
                  offset: range.offset + offset,
                  length,
                });
          } else if (kind === Kind.list) {
            let { offset } = range;
            for (const entry of parseList(payload, refs).entries) {
              if (entry.id !== undefined) visit(entry.id, { offset, length: entry.length });
              offset += entry.length;
            }
          } else bytes.set(payload, range.offset);
        };
        visit(Buffer.from(archive.root, 'hex') as ObjectId, { offset: 0, length: archive.sizeBytes });
      }
    }
  } finally {
    store.close();
  }
}

/** Numbers from 0 up to below `below`, the same for the same seed. */
function randomOf(start: number): (below: number) => number {
  let state = start;
  return (below) => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) % below;
  };
}

interface Flip {
  readonly what: string;
  /** Objects that are lost by it. */
  readonly ids: readonly string[];
  /** The pack itself is to be named. */
  readonly structure: boolean;
}

/** What a bit at this place of a pack belongs to; undefined for what nothing protects: the insides of pads. */
function classify(path: string, at: number): Flip | undefined {
  const fd = openSync(path, 'r');
  const pack = readSealedPack(fd)!;
  closeSync(fd);
  const entries = Array.from({ length: pack.table.length / TABLE_ENTRY_BYTES }, (_, n) =>
    readTableEntry(pack.table, n * TABLE_ENTRY_BYTES),
  );
  if (at < 128) return { what: 'header', ids: entries.map(({ id }) => id.toString('hex')), structure: true };
  if (at >= pack.footerOffset) return { what: 'footer', ids: [], structure: true };
  const entry = entries.find(({ offset, length }) => at >= offset - 16 && at < offset + length);
  if (entry === undefined) return undefined;
  if (at < entry.offset) return { what: 'frame', ids: [], structure: true };
  return { what: `record of kind ${entry.kind}`, ids: [entry.id.toString('hex')], structure: false };
}

function expectedOf(flips: readonly Flip[]): Damage {
  const damage: Damage = {};
  for (const id of new Set(flips.flatMap(({ ids }) => ids)))
    for (const [key, range] of uses.get(id) ?? []) damage[key] = [...(damage[key] ?? []), range];
  for (const key of Object.keys(damage)) damage[key] = joined(damage[key]!);
  return damage;
}

function joined(ranges: readonly Range[]): Range[] {
  const result: { offset: number; length: number }[] = [];
  for (const { offset, length } of [...ranges].sort((a, b) => a.offset - b.offset)) {
    const last = result.at(-1);
    if (last !== undefined && offset <= last.offset + last.length)
      last.length = Math.max(last.length, offset + length - last.offset);
    else result.push({ offset, length });
  }
  return result;
}

async function verified(root: string): Promise<{ report: VerifyReport; damage: Damage }> {
  const open = await OpenStore.open(root);
  try {
    const request = { snapshot: null, provedSinceMs: Date.now(), rateLimitBytes: null };
    const report = await open.store.verify(request, { signal: NO_SIGNAL, onProgress: () => {} });
    const sequences = new Map(
      (await allSnapshots(open.store.groups)).good.map((each) => [
        `${each.name.ns}|${each.manifest.client.backup}/${new Date(each.name.time * 1000).toISOString().replace('.000', '')}`,
        each,
      ]),
    );
    const damage = report.damaged.map(({ ns, snapshot, archive, ranges }) => [
      keyOf(sequences.get(`${ns}|${snapshot}`)!, archive),
      ranges,
    ]);
    return { report, damage: Object.fromEntries(damage) as Damage };
  } finally {
    await open.close();
  }
}

/** Every archive as `restore --damaged zero` gives it: right outside of what it says is lost, and that is no more than was named. */
async function restoresHonestly(root: string, damage: Damage): Promise<void> {
  const pool = WorkerPool.start(new URL('../../../dist/worker.js', import.meta.url), 2);
  const store = await ReadDatastore.open(root);
  try {
    const objects = store.objects(Number.POSITIVE_INFINITY);
    await objects.join(pool);
    for (const snapshot of (await allSnapshots(store.groups)).good) {
      for (const archive of snapshot.manifest.client.archives) {
        const key = keyOf(snapshot, archive.name);
        const stdout = new PassThrough();
        const parts: Buffer[] = [];
        stdout.on('data', (part: Buffer) => parts.push(part));
        const request = {
          archive,
          space: 0,
          target: '-',
          overwrite: false,
          zeroLost: true,
          stdout,
          signal: NO_SIGNAL,
          onProgress: () => {},
        };
        const lost = await runRestore(request, pool, (space, id) => pool.call(0, 'store.read', { space, id }));
        const expected = Buffer.from(contents.get(key)!);
        for (const { offset, length } of lost) {
          expected.fill(0, offset, offset + length);
          const isNamed = (damage[key] ?? []).some(
            (range) => range.offset <= offset && offset + length <= range.offset + range.length,
          );
          assert.ok(isNamed, `${key}: ${length} bytes at ${offset} were not named`);
        }
        assert.ok(Buffer.concat(parts).equals(expected), `${key}: a wrong byte was restored silently`);
      }
    }
  } finally {
    store.close();
    await pool.close();
  }
}

test(`${FLIPS} random bit flips: all named, none restored silently (seed ${seed})`, async () => {
  const random = randomOf(seed);
  const seen = new Map<string, number>();
  for (let done = 0; done < FLIPS; ) {
    const root = place.path(`round-${done}`);
    cpSync(place.repository, root, { recursive: true });
    const names = readdirSync(join(root, 'packs')).sort();
    const flips: Flip[] = [];
    while (flips.length < FLIPS_A_ROUND && names.length > 0) {
      // One a pack: a second one may be hidden by the first, such as a record behind a header. Small packs as often as large ones.
      const path = join(root, 'packs', names.splice(random(names.length), 1)[0]!);
      const bytes = readFileSync(path);
      for (let flip: Flip | undefined; flip === undefined; ) {
        // One in eight at the ends, where header and footer are.
        const at =
          random(8) === 0 ? (random(2) === 0 ? random(128) : bytes.length - 1 - random(4096)) : random(bytes.length);
        flip = classify(path, at);
        if (flip === undefined) continue;
        bytes[at]! ^= 1 << random(8);
        flips.push(flip);
      }
      writeFileSync(path, bytes);
    }
    const what = `round at ${done}: ${flips.map((flip) => flip.what).join(', ')}`;
    const { report, damage } = await verified(root);
    assert.deepEqual(damage, expectedOf(flips), what);
    assert.equal(report.packsDamaged.length, flips.filter((flip) => flip.structure).length, what);
    const isMetadataLost = flips.some(({ ids }) => ids.some((id) => metadata.has(id)));
    assert.equal(report.unreferencedDamaged, isMetadataLost ? null : 0, what);
    await restoresHonestly(root, damage);
    rmSync(root, { recursive: true });
    done += flips.length;
    for (const flip of flips) seen.set(flip.what, (seen.get(flip.what) ?? 0) + 1);
  }
  assert.ok(seen.size >= 4, `${[...seen.keys()].join(', ')}: too few kinds of places`);
});
