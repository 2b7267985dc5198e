import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatDuration, pairs, printable, table } from '../../src/cli/output.ts';
import { formatBytes } from '../../src/util/format-bytes.ts';

test('bytes are shown in binary units with three digits', () => {
  const cases: [number, string][] = [
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.00 KiB'],
    [1536, '1.50 KiB'],
    [10_240, '10.0 KiB'],
    [102_400, '100 KiB'],
    [1024 ** 2, '1.00 MiB'],
    [64 * 1024 ** 3, '64.0 GiB'],
    [1024 ** 4, '1.00 TiB'],
    [3 * 1024 ** 5, '3.00 PiB'],
    [5000 * 1024 ** 5, '5000 PiB'],
  ];
  for (const [bytes, text] of cases) assert.equal(formatBytes(bytes), text);
});

test('durations are shown as people say them', () => {
  const cases: [number, string][] = [
    [0, '0.00 s'],
    [1234, '1.23 s'],
    [12_345, '12 s'],
    [90_500, '1 min 31 s'],
    [3_600_000, '1 h 0 min'],
    [100_000_000, '27 h 46 min'],
  ];
  for (const [ms, text] of cases) assert.equal(formatDuration(ms), text);
});

test('tables are aligned, without blanks at the ends of lines', () => {
  const rows = [
    ['vm/1', '5 B', 'x'],
    ['vm/1000', '500 B', ''],
  ];
  assert.equal(
    table(['name', 'size', 'note'], rows, new Set(['size'])),
    'name      size  note\nvm/1       5 B  x\nvm/1000  500 B',
  );
  assert.equal(table(['name'], []), 'name');
  assert.equal(
    pairs([
      ['a', '1'],
      ['long name', '2'],
    ]),
    'a          1\nlong name  2',
  );
});

test('text for a terminal has no control characters but line breaks and tabs, and is otherwise unchanged', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const shown = printable(text);
      const isControl = (char: string): boolean => {
        const code = char.codePointAt(0) as number;
        return (code < 32 && code !== 9 && code !== 10) || (code >= 127 && code < 160);
      };
      assert.equal(shown, [...text].map((char) => (isControl(char) ? '\u{fffd}' : char)).join(''));
    }),
  );
});
