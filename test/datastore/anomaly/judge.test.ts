// What is an anomaly and what is only a busy night: figures in, verdicts out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Added, DEFAULT_FACTOR, judge, LEAST_SNAPSHOTS } from '../../../src/datastore/anomaly/judge.ts';
import type { AddedBytes } from '../../../src/schema/state-files.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

const added = (mib: number, ratio: number): AddedBytes => ({ bytesNew: mib * MIB, bytesStored: mib * MIB * ratio });
const full: AddedBytes = { ...added(8000, 0.4), isFull: true };
const tonight = (mib: number, ratio: number, bytesLogical = 8 * GIB): Added => ({ ...added(mib, ratio), bytesLogical });
/** A fortnight of nights as usual: 60 to 190 MiB that compress to 35 %. */
const FORTNIGHT = Array.from({ length: 14 }, (_, n) => added(60 + 10 * n, 0.35));
const score = (one: Added, before: readonly AddedBytes[] = FORTNIGHT, factor = DEFAULT_FACTOR): number | undefined =>
  judge(one, before, factor)?.score;

test('files that were encrypted: far more than usual, and it does not compress', () => {
  const jump = judge(tonight(1800, 0.99), FORTNIGHT, DEFAULT_FACTOR);
  assert.deepEqual(jump?.usual, { bytesNew: 180 * MIB, ratio: 0.35 });
  // Ten times the second largest night, 0.99 / 0.35 times worse.
  assert.ok(Math.abs((jump?.score ?? 0) - 28.29) < 0.01, String(jump?.score));
});

test('a busy night, an upgrade, a movie: none of them', () => {
  assert.equal(score(tonight(180, 0.99)), undefined, 'as much as usual, whatever it is');
  assert.equal(score(tonight(600, 0.45)), undefined, 'an upgrade of packages');
  assert.equal(score(tonight(600, 0.99)), undefined, 'three times the usual, incompressible');
  assert.equal(score(tonight(1700, 0.35)), undefined, 'a lot of the same kind');
});

test('the whole guest anew is one even when it compresses as ever', () => {
  assert.equal(Math.round(score(tonight(1800, 0.35)) ?? 0), 10);
  assert.equal(Math.round(score(tonight(1800, 0.1)) ?? 0), 10, 'compressing better is no excuse');
});

test('what comes every week is usual, what came once is not', () => {
  const weekly = [...FORTNIGHT.slice(2), added(900, 0.35), added(900, 0.35)];
  assert.equal(score(tonight(1800, 0.99), weekly), undefined);
  assert.ok(score(tonight(1800, 0.99), [...FORTNIGHT.slice(1), added(5000, 0.35)]));
});

test('a guest that hardly changes: small figures are noise', () => {
  const quiet = Array.from({ length: 14 }, () => added(0.2, 1.2));
  assert.equal(score(tonight(31, 1), quiet), undefined, 'below the least that counts');
  assert.equal(score(tonight(100, 0.5), [full, ...quiet.slice(1)]), undefined);
  assert.equal(Math.round(score(tonight(200, 1), [full, ...quiet.slice(1)]) ?? 0), 12, '40 MiB of 8 GiB, at 0.4');
  assert.equal(Math.round(score(tonight(400, 1), quiet) ?? 0), 20, 'nothing tells how it compresses: by half');
  assert.equal(score(tonight(400, 1, 100 * GIB), [full, ...quiet.slice(1)]), undefined, 'of a large guest little');
});

test('a client that says its guest is endless does not silence it', () => {
  assert.ok(score(tonight(9 * 1024, 1, Number.MAX_SAFE_INTEGER), [full, ...FORTNIGHT.slice(1)]));
});

test('data that never compressed can only grow', () => {
  const movies = Array.from({ length: 14 }, () => added(100, 1.01));
  assert.equal(score(tonight(900, 1.01), movies), undefined);
  assert.ok(score(tonight(1100, 1.01), movies));
});

test('nothing is judged before there is enough, or when nobody wants it', () => {
  const few = [full, ...FORTNIGHT.slice(0, LEAST_SNAPSHOTS - 1)];
  assert.equal(score(tonight(8000, 1), few), undefined, 'the full one does not count');
  assert.ok(score(tonight(8000, 1), [...few, added(100, 0.35)]));
  assert.equal(score({ ...tonight(8000, 1), isFull: true }), undefined, 'all others were forgotten');
  assert.equal(score(tonight(8000, 1), FORTNIGHT, 0), undefined);
  assert.equal(score(tonight(8000, 1), FORTNIGHT, 1000), undefined);
});

test('what a retry continued from counts by what it takes on disk', () => {
  assert.ok(score({ bytesNew: 0, bytesStored: 1800 * MIB, bytesLogical: 8 * GIB }));
});
