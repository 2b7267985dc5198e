import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Proofs } from '../../../src/datastore/verify/proofs.ts';
import { temporaryDirectory } from '../fixture.ts';

const STORE = 'a'.repeat(32);
const [ONE, TWO] = ['1'.repeat(32), '2'.repeat(32)];

test('proofs come back, and only those of packs and snapshots that are kept', async (t) => {
  const path = join(temporaryDirectory(t), 'verify.json');
  const proofs = await Proofs.load(path, STORE);
  assert.equal(proofs.provedMs(ONE, 1000), 0);
  proofs.notePack(ONE, 500);
  proofs.notePack(TWO, 600);
  proofs.noteSnapshot(ONE, { verifiedMs: 700, damaged: true });
  proofs.noteSnapshot(TWO, { verifiedMs: 800, damaged: false });
  await proofs.save();
  const again = await Proofs.load(path, STORE);
  assert.deepEqual([again.provedMs(ONE, 1000), again.provedMs(TWO, 1000), again.provedMs(TWO, 599)], [500, 600, 0]);
  assert.deepEqual([again.snapshot(ONE), again.snapshot(TWO)?.damaged], [{ verifiedMs: 700, damaged: true }, false]);
  again.keepOnly(new Set([TWO]), new Set([ONE]));
  again.dropPack('nothing');
  await again.save();
  const kept = await Proofs.load(path, STORE);
  assert.deepEqual([kept.provedMs(ONE, 1000), kept.provedMs(TWO, 1000)], [0, 600]);
  assert.deepEqual([kept.snapshot(ONE)?.verifiedMs, kept.snapshot(TWO)], [700, undefined]);
});

test('what another store proved, or nobody can read, is no proof, and is written over', async (t) => {
  const path = join(temporaryDirectory(t), 'verify.json');
  const proofs = await Proofs.load(path, STORE);
  proofs.notePack(ONE, 500);
  await proofs.save();
  assert.equal((await Proofs.load(path, 'b'.repeat(32))).provedMs(ONE, 1000), 0);
  const text = readFileSync(path, 'utf8');
  for (const spoilt of [text.slice(0, 20), '', 'null', text.replace('500', '-500'), text.replace(ONE, 'x')]) {
    writeFileSync(path, spoilt);
    assert.equal((await Proofs.load(path, STORE)).provedMs(ONE, 1000), 0, spoilt);
  }
  await proofs.save();
  assert.equal((await Proofs.load(path, STORE)).provedMs(ONE, 1000), 500);
});

test('saves at the same time follow each other, and the last word is on disk', async (t) => {
  const directory = temporaryDirectory(t);
  const path = join(directory, 'verify.json');
  const proofs = await Proofs.load(path, STORE);
  const saves = Array.from({ length: 20 }, (_, n) => {
    proofs.notePack(ONE, n + 1);
    return proofs.save();
  });
  await Promise.all(saves);
  assert.equal((await Proofs.load(path, STORE)).provedMs(ONE, 1000), 20);
  assert.deepEqual(readdirSync(directory), ['verify.json']);
});
