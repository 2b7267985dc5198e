import assert from 'node:assert/strict';
import { syncBuiltinESMExports } from 'node:module';
import { mock, test } from 'node:test';
import v8 from 'node:v8';
import { optimizeLate } from '../../src/cli/optimize-late.ts';

test('V8 optimizes late for a short while, and then as it does by itself', (t) => {
  const said = mock.method(v8, 'setFlagsFromString', () => undefined);
  syncBuiltinESMExports();
  mock.timers.enable({ apis: ['setTimeout'] });
  t.after(() => {
    mock.restoreAll();
    mock.timers.reset();
    syncBuiltinESMExports();
  });
  const budgets = (): number[] => said.mock.calls.map(({ arguments: [flag] }) => Number(String(flag).split('=')[1]));

  optimizeLate();
  mock.timers.tick(1000);
  const [late, ...others] = budgets();
  assert.deepEqual(others, []);
  mock.timers.tick(60_000);
  assert.deepEqual(budgets().slice(1), [67_584]);
  assert.ok((late as number) > 10 * 67_584);
});
