// Verification on a real store with real threads: what it reads, what it finds, what it remembers, and what goes on beside it.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type ObjectId, PLAIN_SPACE } from '../../../src/chunker/object.ts';
import { Layout } from '../../../src/datastore/layout.ts';
import { readSealedPack } from '../../../src/datastore/packs/pack-scan.ts';
import type { VerifyReport, VerifyRequest } from '../../../src/datastore/verify/verify-store.ts';
import { commitImage, createTemporaryStore, NO_SIGNAL, OpenStore, putData } from '../../support/store.ts';

let root: string;
let remove: () => Promise<void>;
let open: OpenStore;

beforeEach(async () => {
  ({ root, remove } = await createTemporaryStore());
  open = await OpenStore.open(root);
});

afterEach(async () => {
  await open.crash();
  await remove();
});

const HOUR_MS = 3_600_000;
const lately = (): Partial<VerifyRequest> => ({ provedSinceMs: Date.now() - HOUR_MS });

function verify(request: Partial<VerifyRequest> = {}, signal = NO_SIGNAL): Promise<VerifyReport> {
  const everything = { snapshot: null, provedSinceMs: Date.now(), rateLimitBytes: null };
  return open.store.verify({ ...everything, ...request }, { signal, onProgress: () => {} });
}

async function reopen(): Promise<void> {
  await open.close();
  open = await OpenStore.open(root);
}

/** Contents that hardly compress. */
const text = (seed: string, bytes = 20_000): string => {
  let out = '';
  for (let n = 0; out.length < bytes; n++) out += createHash('sha512').update(`${seed}${n}`).digest('base64');
  return `${seed}:${out}`;
};

const entryOf = (id: Uint8Array): number => open.store.index.first(PLAIN_SPACE, id);
const packPath = (id: Uint8Array): string =>
  new Layout(root).sealedPack(open.store.packs.packId(open.store.index.pack(entryOf(id))));
const childOf = (id: ObjectId, place = 0): ObjectId =>
  Buffer.from(open.store.source.get(PLAIN_SPACE, id).refs.subarray(place * 32, place * 32 + 32)) as ObjectId;

function flip(path: string, offset: number): void {
  const fd = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, offset);
  byte[0]! ^= 0x10;
  writeSync(fd, byte, 0, 1, offset);
  closeSync(fd);
}

/** Flips a bit in the middle of an object's record; again puts it right. */
const damage = (id: ObjectId): void => {
  const entry = entryOf(id);
  flip(packPath(id), open.store.index.offset(entry) + Math.floor(open.store.index.length(entry) / 2));
};

function footerOffset(path: string): number {
  const fd = openSync(path, 'r');
  try {
    return readSealedPack(fd)!.footerOffset;
  } finally {
    closeSync(fd);
  }
}

const isClean = (report: VerifyReport): void => {
  assert.deepEqual(
    [report.damaged, report.packsDamaged, report.manifestsDamaged, report.copiesDamaged, report.unreferencedDamaged],
    [[], [], [], 0, 0],
  );
};

describe('what is read', () => {
  it('reads every record of every sealed pack once, and counts it', async () => {
    await commitImage(open, [text('a'), text('b')]);
    await commitImage(open, [text('b'), text('c')], 'ct/7');
    const report = await verify();
    isClean(report);
    assert.equal(report.packsRead, readdirSync(join(root, 'packs')).length);
    assert.equal(report.recordsRead, 3 + 2 * 2, 'three chunks, and a page and a list of each');
    const bytes = readdirSync(join(root, 'packs')).map((name) => readFileSync(join(root, 'packs', name)).length);
    assert.ok(report.bytesRead > bytes.reduce((sum, size) => sum + size, 0) * 0.8);
    assert.equal(report.metadataRead, 4);
  });

  it('with a snapshot reads what that reaches, and says nothing of the rest', async () => {
    const one = await commitImage(open, [text('a'), text('shared')]);
    const two = await commitImage(open, [text('shared'), text('c'), text('d')], 'ct/7');
    const report = await verify({ snapshot: one.name });
    isClean(report);
    assert.equal(report.recordsRead, 4);
    damage(childOf(childOf(two.root), 2));
    isClean(await verify({ snapshot: one.name }));
    const bad = await verify({ snapshot: two.name });
    assert.equal(bad.damaged.length, 1);
    await assert.rejects(verify({ snapshot: { ...one.name, time: 1 } }), { code: 'not-found' });
  });

  it('reads what a session is still writing by no snapshot, and leaves open packs alone', async () => {
    const session = await open.session();
    await putData(open, session, text('under way'));
    const report = await verify();
    isClean(report);
    assert.equal(report.recordsRead, 0);
    await session.suspend();
    assert.equal((await verify()).recordsRead, 1, 'sealed now, and in no snapshot');
  });
});

describe('what is found', () => {
  it('names snapshot, archive and range of a bad chunk, wherever it is shared', async () => {
    const [a, b, c] = [text('a'), text('b'), text('c')];
    const one = await commitImage(open, [a, b]);
    await commitImage(open, [c, b, a, b], 'ct/7');
    await commitImage(open, [c], 'ct/8');
    damage(childOf(childOf(one.root), 1));
    const { damaged, copiesDamaged, unreferencedDamaged, packsDamaged } = await verify();
    const named = damaged.map(({ snapshot, archive, ranges }) => [snapshot.replace(/\/[^/]*$/, ''), archive, ranges]);
    const length = b.length;
    assert.deepEqual(named.sort(), [
      [
        'ct/7',
        'disk0.img',
        [
          { offset: c.length, length },
          { offset: c.length + length + a.length, length },
        ],
      ],
      ['vm/101', 'disk0.img', [{ offset: a.length, length }]],
    ]);
    assert.deepEqual([copiesDamaged, unreferencedDamaged, packsDamaged], [1, 0, []]);
  });

  it('names all of an archive whose page or list is bad', async () => {
    const one = await commitImage(open, [text('a'), text('b')]);
    damage(childOf(one.root));
    assert.deepEqual((await verify()).damaged[0]?.ranges, [{ offset: 0, length: 2 * text('a').length }]);
    const two = await commitImage(open, [text('x')], 'ct/7');
    damage(two.root);
    const { damaged } = await verify({ snapshot: two.name });
    assert.deepEqual(damaged[0]?.ranges, [{ offset: 0, length: text('x').length }]);
  });

  it('what was forgotten is damage in no snapshot', async () => {
    const one = await commitImage(open, [text('gone')]);
    const chunk = childOf(childOf(one.root));
    await commitImage(open, [text('kept')], 'ct/7');
    damage(chunk);
    await open.store.forget(one.name);
    const report = await verify();
    assert.deepEqual([report.damaged, report.unreferencedDamaged, report.copiesDamaged], [[], 1, 1]);
  });

  it('an object with another good copy is whole, and its snapshots are', async () => {
    const one = await commitImage(open, [text('a')]);
    damage(childOf(childOf(one.root)));
    assert.equal((await verify()).damaged.length, 1);
    await reopen();
    await commitImage(open, [text('a')], 'ct/7');
    const report = await verify();
    assert.deepEqual([report.damaged, report.copiesDamaged, report.unreferencedDamaged], [[], 1, 0]);
    isClean(await verify({ snapshot: one.name }));
  });

  it('a footer, a frame and a header that are damaged are told as such, and cost nothing that is still there', async () => {
    const one = await commitImage(open, [text('a'), text('b')]);
    const path = packPath(childOf(childOf(one.root)));
    const first = open.store.index.offset(entryOf(childOf(childOf(one.root))));
    for (const [offset, problem] of [
      [footerOffset(path) + 30, /its footer is damaged/],
      [first - 16, /the frame at byte \d+ is damaged, the record in it is not/],
      [first - 8, /the frame at byte \d+ is damaged/],
      [40, /its header is damaged/],
    ] as const) {
      flip(path, offset);
      const report = await verify();
      assert.deepEqual(report.damaged, [], `byte ${offset}`);
      assert.equal(report.packsDamaged.length, 1, `byte ${offset}`);
      assert.match(report.packsDamaged[0]!.problem, problem);
      assert.ok(path.includes(report.packsDamaged[0]!.pack));
      flip(path, offset);
    }
    isClean(await verify());
  });

  it('checkpoints and what lies between records are looked at', async () => {
    const session = await open.session();
    const kept = await open.session('ct/7');
    await putData(open, session, text('before'));
    // A commit of another session that relies on the same pack makes a barrier in it.
    await putData(open, kept, text('before'));
    await open.pool.all('store.barrier', [0]);
    await putData(open, session, text('after'));
    await session.suspend();
    await kept.suspend();
    isClean(await verify());
    const path = join(
      root,
      'packs',
      readdirSync(join(root, 'packs')).find((name) => readFileSync(join(root, 'packs', name))[10] === 1)!,
    );
    const bytes = readFileSync(path);
    // A checkpoint frame stands at a block boundary.
    let at = 4096;
    while (bytes[at + 4] !== 3 || bytes.readUInt32LE(at) % 4096 !== 4080) at += 4096;
    for (const offset of [at + 1, at + 40, at + bytes.readUInt32LE(at)]) {
      flip(path, offset);
      assert.match((await verify()).packsDamaged[0]?.problem ?? 'nothing', /between records, are damaged/);
      flip(path, offset);
    }
  });

  it('a pack that is gone or unreadable as a whole is told, and what only it held', async () => {
    const one = await commitImage(open, [text('a')]);
    const path = packPath(childOf(childOf(one.root)));
    renameSync(path, `${path}.away`);
    const report = await verify();
    assert.match(report.packsDamaged[0]?.problem ?? '', /gone from packs/);
    assert.deepEqual(report.damaged[0]?.ranges, [{ offset: 0, length: text('a').length }]);
    renameSync(`${path}.away`, path);
    flip(path, 20);
    await open.crash();
    rmSync(join(root, 'quarantine.json'));
    open = await OpenStore.open(root);
    const unknown = await verify();
    assert.match(unknown.packsDamaged[0]?.problem ?? '', /its header is damaged, or it is no pack/);
    assert.equal(unknown.damaged.length, 1);
  });

  it('a manifest that was edited is told', async () => {
    const one = await commitImage(open, [text('a')]);
    await commitImage(open, [text('b')], 'ct/7');
    const path = open.store.groups.manifestPath(one.name);
    writeFileSync(path, readFileSync(path, 'utf8').replace('"protected": false', '"protected": true'));
    const report = await verify();
    assert.deepEqual([report.manifestsDamaged.length, report.damaged], [1, []]);
    await assert.rejects(verify({ snapshot: one.name }), { code: 'manifest-altered' });
  });
});

describe('what is remembered', () => {
  it('packs proved lately are not read again, also after a restart; damaged ones are', async () => {
    const one = await commitImage(open, [text('a')]);
    await commitImage(open, [text('b')], 'ct/7');
    await verify();
    await reopen();
    const again = await verify(lately());
    assert.deepEqual([again.packsRead, again.recordsRead, again.bytesRead, again.packsSkipped], [0, 0, 0, 4]);
    damage(childOf(childOf(one.root)));
    assert.equal((await verify()).packsRead, 4, 'without a limit all are read');
    const report = await verify(lately());
    assert.deepEqual([report.packsRead, report.packsSkipped, report.damaged.length], [1, 3, 1]);
  });

  it('a pack with a copy that was found bad since its proof is read again', async () => {
    const one = await commitImage(open, [text('a')]);
    await verify();
    damage(childOf(childOf(one.root)));
    assert.throws(() => open.store.source.get(PLAIN_SPACE, childOf(childOf(one.root))));
    assert.equal((await verify(lately())).packsRead, 1);
  });

  it('proofs of another store, from a clock ahead, and damaged ones, prove nothing', async () => {
    await commitImage(open, [text('a')]);
    await verify();
    const path = join(root, 'verify.json');
    const good = readFileSync(path, 'utf8');
    assert.equal((await verify(lately())).packsRead, 0);
    for (const spoilt of [
      good.replace(/"store":"[0-9a-f]{32}"/, `"store":"${'0'.repeat(32)}"`),
      good.replace(/:1[0-9]{12}/g, `:${Date.now() + HOUR_MS}`),
      good.slice(0, -10),
      '',
    ]) {
      assert.notEqual(spoilt, good);
      writeFileSync(path, spoilt);
      assert.equal((await verify(lately())).packsRead, 2);
    }
  });

  it('what an aborted run proved is not read again', async () => {
    for (let n = 0; n < 6; n++) await commitImage(open, [text(`chunk ${n}`)], `vm/${n + 1}`);
    const stop = new AbortController();
    const request = { snapshot: null, provedSinceMs: Date.now(), rateLimitBytes: null };
    let seen = 0;
    const stopped = open.store.verify(request, {
      signal: stop.signal,
      onProgress: () => {
        if (++seen === 4) stop.abort(new Error('enough'));
      },
    });
    await assert.rejects(stopped, /enough/);
    await open.crash();
    open = await OpenStore.open(root);
    const rest = await verify(lately());
    assert.ok(rest.packsSkipped > 0 && rest.packsRead > 0, `${rest.packsSkipped} skipped`);
    assert.equal(rest.packsSkipped + rest.packsRead, 12);
  });

  it('what is said of a snapshot lasts', async () => {
    const { Proofs } = await import('../../../src/datastore/verify/proofs.ts');
    const one = await commitImage(open, [text('a')]);
    const session = one.manifest.server.session;
    const said = async () => (await Proofs.load(join(root, 'verify.json'), open.store.config.store)).snapshot(session);
    assert.equal(await said(), undefined);
    await verify({ snapshot: one.name });
    assert.equal((await said())?.damaged, false);
    damage(childOf(childOf(one.root)));
    await verify();
    assert.equal((await said())?.damaged, true);
    await open.store.forget(one.name);
    await verify();
    assert.equal(await said(), undefined);
  });
});

describe('beside others', () => {
  it('two at once are refused; a rate limit slows and an abort ends it', async () => {
    await commitImage(open, [text('a', 300_000)]);
    const stop = new AbortController();
    const slow = verify({ rateLimitBytes: 1000 }, stop.signal);
    await assert.rejects(verify(), { code: 'datastore-locked' });
    stop.abort(new Error('stopped'));
    await assert.rejects(slow, /stopped/);
    isClean(await verify());
  });

  it('packs that garbage collection drops meanwhile are no damage', async () => {
    for (let round = 0; round < 4; round++) {
      const gone = await commitImage(
        open,
        Array.from({ length: 40 }, (_, n) => text(`gone ${round} ${n}`)),
      );
      const kept = await commitImage(open, [text(`gone ${round} 3`), text(`kept ${round}`)], 'ct/7');
      await open.store.forget(gone.name);
      const running = verify();
      const collected = open.store.collectGarbage({ signal: NO_SIGNAL }, async (gc) =>
        gc.sweep(gc.plan(await gc.mark())),
      );
      const [report] = await Promise.all([running, collected]);
      isClean(report);
      isClean(await verify({ snapshot: kept.name }));
    }
  });

  it('a pack that is dropped and deleted in the middle of its reading is no damage', async () => {
    const chunks = Array.from({ length: 60 }, (_, n) => text(`in the middle ${n}`));
    const gone = await commitImage(open, chunks);
    const running = verify({ rateLimitBytes: 1_000_000 });
    await open.store.forget(gone.name);
    await open.store.collectGarbage({ signal: NO_SIGNAL }, async (gc) => gc.sweep(gc.plan(await gc.mark())));
    assert.deepEqual(readdirSync(join(root, 'packs')), []);
    const report = await running;
    isClean(report);
    assert.ok(report.packsDropped > 0, 'the collection came in between');
  });

  it('a snapshot that is forgotten and collected while it is verified is no damage', async () => {
    const one = await commitImage(
      open,
      Array.from({ length: 60 }, (_, n) => text(`one ${n}`)),
    );
    let running: Promise<VerifyReport>;
    // Not before it reads packs: a snapshot that is forgotten before it was looked up is refused as unknown.
    await new Promise<void>((resolve) => {
      const request = { snapshot: one.name, provedSinceMs: Date.now(), rateLimitBytes: 500_000 };
      running = open.store.verify(request, { signal: NO_SIGNAL, onProgress: () => resolve() });
    });
    await open.store.forget(one.name);
    await open.store.collectGarbage({ signal: NO_SIGNAL }, async (gc) => gc.sweep(gc.plan(await gc.mark())));
    const report = await running!;
    assert.deepEqual([report.damaged, report.packsDamaged], [[], []]);
  });
});

describe('healing', () => {
  it('objects that are missing without a quarantined copy are named to the next session', async () => {
    const one = await commitImage(open, [text('a')]);
    const path = packPath(childOf(childOf(one.root)));
    await open.close();
    rmSync(path);
    open = await OpenStore.open(root);
    const ranges = async (): Promise<number> => {
      const session = await open.session();
      const { damaged } = session.bases[0]!;
      await session.suspend();
      return damaged.length;
    };
    assert.equal(await ranges(), 0, 'nobody knows yet');
    assert.equal((await verify()).damaged.length, 1);
    assert.equal(await ranges(), 1);
    await reopen();
    assert.equal(await ranges(), 1, 'known after a restart');
    await commitImage(open, [text('a')]);
    isClean(await verify());
    await reopen();
    assert.equal(await ranges(), 0);
  });
});
