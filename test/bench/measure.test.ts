// measure() tells the truth about processes whose cost is known.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { addUsage, CommandFailed, measure } from '../../bench/measure.ts';
import { missingTools } from '../../bench/tools.ts';

const node = (script: string): string[] => [process.execPath, '-e', script];
const BUSY =
  'const used = () => { const { user, system } = process.cpuUsage(); return user + system; }; const end = used() + 4e5; while (used() < end);';

suite('measure', { skip: missingTools('time') ?? false }, () => {
  test('a loop that burns 0.4 s of CPU costs that, and a little for starting node', async () => {
    const { usage } = await measure({ argv: node(BUSY) });
    assert.ok(usage.cpuS >= 0.4 && usage.cpuS < 1, `${usage.cpuS} s of CPU`);
    assert.ok(usage.wallS >= 0.4, `${usage.wallS} s of wall`);
    assert.ok(Math.abs(usage.userS + usage.sysS - usage.cpuS) < 1e-9);
  });

  test('waiting costs wall and no CPU', async () => {
    const { usage } = await measure({ argv: ['sleep', '0.3'] });
    assert.ok(usage.wallS > 0.29 && usage.cpuS < 0.1, `${usage.wallS} s, ${usage.cpuS} s of CPU`);
  });

  test('CPU of threads and of children counts', async () => {
    const threads = `const { Worker } = require('node:worker_threads'); for (let i = 0; i < 2; i++) new Worker(${JSON.stringify(BUSY)}, { eval: true });`;
    const child = `require('node:child_process').execFileSync(process.execPath, ['-e', ${JSON.stringify(BUSY)}]);`;
    assert.ok((await measure({ argv: node(threads) })).usage.cpuS >= 0.4);
    assert.ok((await measure({ argv: node(child) })).usage.cpuS >= 0.4);
  });

  test('touched memory shows in peak RSS and in the sampled PSS of the tree', async () => {
    const script = 'const b = Buffer.alloc(200 << 20, 1); setTimeout(() => b.length, 500);';
    const { usage } = await measure({ argv: node(script) }, { samplePss: true });
    assert.ok(usage.peakRssMiB > 200 && usage.peakRssMiB < 320, `${usage.peakRssMiB} MiB`);
    assert.ok(usage.peakPssMiB! > 200 && usage.peakPssMiB! < 320, `${usage.peakPssMiB} MiB`);
  });

  test('it hands over standard output, working directory and environment', async () => {
    const { stdout } = await measure({ argv: ['sh', '-c', 'echo $PWD $WORD'], cwd: '/', env: { WORD: 'yes' } });
    assert.equal(stdout, '/ yes\n');
  });

  test('a command that fails throws with what it said', async () => {
    await assert.rejects(measure({ argv: ['sh', '-c', 'echo out of luck >&2; exit 3'] }), (error) => {
      return error instanceof CommandFailed && /ended with 3: .*out of luck/s.test(error.message);
    });
  });

  test('usages of one job add up, memory does not', () => {
    const one = { wallS: 1, userS: 2, sysS: 3, cpuS: 5, peakRssMiB: 7 };
    assert.deepEqual(addUsage([one, { ...one, peakRssMiB: 9 }]), {
      wallS: 2,
      userS: 4,
      sysS: 6,
      cpuS: 10,
      peakRssMiB: 9,
    });
  });
});
