// Golden cut points: no change of code or compiler may move one. To add a case, write its recipe with an empty list of
// pieces and take the pieces from the failure; an existing case is never edited.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { DiskCutParameters, StreamCutParameters } from '../../src/chunker/cut-parameters.ts';
import { CutDriver, mergeHoles } from './cut-driver.ts';
import { type InputRecipe, makeInput } from './cut-inputs.ts';
import { referenceDiskPieces, referenceStreamLengths } from './reference-cutter.ts';

interface Case<Parameters> {
  readonly name: string;
  readonly parameters: Parameters;
  readonly input: InputRecipe;
  /** Lengths in order; a hole is negative. */
  readonly pieces: readonly number[];
}

interface Vectors<Parameters> {
  readonly cases: readonly Case<Parameters>[];
}

const load = (name: string) => JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8'));
const disk = load('cuts-disk') as Vectors<DiskCutParameters>;
const stream = load('cuts-stream') as Vectors<StreamCutParameters>;
const driver = new CutDriver(16 * 1024 * 1024);

test('the vectors cover both averages and both algorithms', () => {
  for (const { cases } of [disk, stream]) {
    for (const average of [65_536, 262_144]) assert.ok(cases.some((one) => one.parameters.averageBytes === average));
    for (const { pieces, input } of cases) {
      assert.equal(
        pieces.reduce((sum, length) => sum + Math.abs(length), 0),
        input.sizeBytes,
      );
    }
  }
});

for (const { name, parameters, input, pieces } of disk.cases) {
  test(`disk: ${name}`, () => {
    const bytes = makeInput(input);
    driver.cutter.setDisk(parameters);
    const signed = (piece: { length: number; hole: boolean }) => (piece.hole ? -piece.length : piece.length);
    assert.deepEqual(mergeHoles(driver.diskPieces(bytes)).map(signed), pieces);
    assert.deepEqual(referenceDiskPieces(bytes, parameters).map(signed), pieces);
  });
}

for (const { name, parameters, input, pieces } of stream.cases) {
  test(`stream: ${name}`, () => {
    const bytes = makeInput(input);
    driver.cutter.setStream(parameters);
    assert.deepEqual(driver.streamLengths(bytes), pieces);
    assert.deepEqual(referenceStreamLengths(bytes, parameters), pieces);
  });
}
