// The demo's virtual machine without the machine: where its guest cannot be built, one command is named and nothing counts as failed.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { pathToFileURL } from 'node:url';

type Tools = Record<string, unknown>;
interface Demo {
  virtualMachine(tools: Tools): Promise<void>;
  endGuests(work: string): void;
}

suite('scripts/demo-vm.mjs', () => {
  /** What it says when programs end as `run` has it. */
  async function saidWhen(run: (program: string) => Promise<{ code: number; stdout?: string; stderr?: string }>) {
    const { virtualMachine } = (await import(pathToFileURL('scripts/demo-vm.mjs').href)) as Demo;
    const said: string[] = [];
    const failed: string[] = [];
    await virtualMachine({
      run,
      say: (text: string) => said.push(text),
      heading: (text: string) => said.push(text),
      check: (holds: boolean, what: string) => holds || failed.push(what),
      rows: [],
      seconds: String,
      mib: String,
      environment: {},
      holdfast: () => assert.fail('no guest, no command'),
    });
    assert.deepEqual(failed, []);
    return said.join('\n');
  }

  test('a guest that cannot be built is left out, with the reason and the command to type', async () => {
    const said = await saidWhen(async (program) =>
      program.includes('qemu') ? { code: 0 } : { code: 1, stderr: 'debian guest: building it needs root\n' },
    );
    assert.match(said, /building it needs root/);
    assert.match(said, /left out: .* Type: sudo node \/.*\/scripts\/guests\/build-debian-guest\.mjs$/);
  });

  test('without QEMU the package is named', async () => {
    const said = await saidWhen(async () => {
      throw new Error('ENOENT');
    });
    assert.match(said, /left out: QEMU is not installed\. Type: sudo apt-get install -y qemu-system-x86/);
  });

  test('the end of a demo without guests leaves everything else alone', async () => {
    const { endGuests } = (await import(pathToFileURL('scripts/demo-vm.mjs').href)) as Demo;
    const work = mkdtempSync(join(tmpdir(), 'demo-vm-test-'));
    try {
      endGuests(work);
    } finally {
      rmSync(work, { recursive: true });
    }
  });
});
