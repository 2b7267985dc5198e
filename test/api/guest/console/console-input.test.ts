// What clients of a console send, however it is split: the same greeting, the same bytes, and no frame that is none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ConsoleInput, ConsoleReader } from '../../../../src/api/guest/console/console-input.ts';

/** What was read, with the data of one frame after the other as one text. */
function readAll(pieces: readonly Uint8Array[]): { readonly others: ConsoleInput[]; readonly typed: string } {
  const reader = new ConsoleReader();
  const inputs = pieces.flatMap((piece) => reader.push(piece));
  const typed = inputs.flatMap((input) => (input.kind === 'typed' ? [input.bytes] : []));
  return { others: inputs.filter(({ kind }) => kind !== 'typed'), typed: Buffer.concat(typed).toString() };
}

test('a greeting and frames are read however they are split', () => {
  const said = Buffer.from('anna@pve!ci:PVEVNC:0::x\n1:80:24:0:3:a:b0:5:héé2220:0:1:200:50:0:1:\n');
  const expected = {
    others: [
      { kind: 'greeting', text: 'anna@pve!ci:PVEVNC:0::x' },
      { kind: 'size', columns: 80, rows: 24 },
      { kind: 'alive' },
      { kind: 'alive' },
      { kind: 'alive' },
      { kind: 'size', columns: 200, rows: 50 },
    ],
    typed: 'a:bhéé\n',
  };
  assert.deepEqual(readAll([said]), expected);
  fc.assert(
    fc.property(fc.array(fc.nat({ max: said.length })), (cuts) => {
      const ends = [...cuts, said.length].sort((a, b) => a - b);
      const pieces = ends.map((end, place) => said.subarray(ends[place - 1] ?? 0, end));
      assert.deepEqual(readAll(pieces), expected);
    }),
  );
});

test('what is no frame is refused, and nothing is kept of what does not end', () => {
  const refused = ['3', '0x', '0:1234567890:', '0:-1:', '1:80:', '1:12345:1:', '1:80:24', '\n'].map(
    (text) => `g\n${text}`,
  );
  for (const text of refused) {
    const reader = new ConsoleReader();
    assert.throws(
      () => [...reader.push(Buffer.from(text)), ...reader.push(Buffer.from('x'))],
      { code: 'bad-argument' },
      text,
    );
  }
  const reader = new ConsoleReader();
  reader.push(Buffer.alloc(1024, 'x'));
  assert.throws(() => reader.push(Buffer.from('x')), /too long/);
});
