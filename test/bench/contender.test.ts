// Contenders alternate, a missing or failing one stays visible, and ratios are taken within a round.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type Contender, extra, type Row, race, ratio, wall } from '../../bench/contender.ts';
import { atLeast, atMost } from '../../bench/question.ts';
import { missingTools } from '../../bench/tools.ts';

const usage = (wallS: number) => ({ wallS, userS: 0, sysS: 0, cpuS: 0, peakRssMiB: 0 });
const row = (...walls: number[]): Row => ({ name: 'r', status: 'ok', commands: [], runs: walls.map(usage), extra: {} });

suite('race', { skip: missingTools('time') ?? false }, () => {
  const contender = (name: string, log: string[], argv = ['true']): Contender => ({
    name,
    before: () => {
      log.push(name);
    },
    commands: () => [{ argv }, { argv: ['echo', name] }],
    after: ([, said]) => ({ length: said.length }),
  });

  test('contenders of a group run in turn and report medians', async () => {
    const log: string[] = [];
    const rows = await race([contender('a', log), contender('bb', log)], 3);
    assert.deepEqual(log, ['a', 'bb', 'a', 'bb', 'a', 'bb']);
    assert.deepEqual(
      rows.map(({ status, runs, commands, extra: found }) => [status, runs.length, commands, found]),
      [
        ['ok', 3, ['true', 'echo a'], { length: 2 }],
        ['ok', 3, ['true', 'echo bb'], { length: 3 }],
      ],
    );
  });

  test('what is missing or fails keeps its row and does not stop the others', async () => {
    const log: string[] = [];
    const gone = { ...contender('gone', log), missing: 'apt-get install -y gone' };
    const rows = await race([gone, contender('bad', log, ['false']), contender('good', log)], 2);
    assert.deepEqual(
      rows.map((entry) => [entry.name, entry.status, entry.runs.length]),
      [
        ['gone', 'missing', 0],
        ['bad', 'failed', 0],
        ['good', 'ok', 2],
      ],
    );
    assert.equal(rows[0].note, 'apt-get install -y gone');
    assert.equal(ratio(rows[1], rows[2], wall), null);
    assert.equal(extra(rows[1], 'length'), null);
  });
});

test('a ratio is the median of the rounds, so that a slow minute cancels out', () => {
  assert.equal(ratio(row(2, 20, 6), row(1, 10, 2), wall), 2);
});

test('a bar that could not be measured is not met', () => {
  assert.equal(atLeast('x', null, 1).met, false);
  assert.equal(atMost('x', null, 1).met, false);
  assert.equal(atLeast('x', 1, 1).met, true);
  assert.equal(atMost('x', 1.01, 1).met, false);
});
