// The question whether a guest runs in KVM, asked of real QEMUs: one that runs instructions as fast as it can, and one that takes a microsecond for each, as KVM
// does where no processor runs them.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { probedAccelerator } from '../../../src/guests/qemu/accelerator.ts';
import { qemuBuilds } from '../../support/guests/qemu-builds.ts';

for (const build of qemuBuilds)
  for (const [speed, more, accelerator] of [
    ['fast', '', 'kvm'],
    ['slow', '-icount shift=10', 'tcg'],
  ] as const)
    test(`${build.name}, ${speed}: ${accelerator}`, { skip: build.skip }, async (t) => {
      const directory = mkdtempSync(join(tmpdir(), 'hf-accelerator-'));
      t.after(() => rmSync(directory, { recursive: true, force: true }));
      const asTcg = join(directory, 'qemu');
      writeFileSync(
        asTcg,
        `#!/bin/bash
words=("$@")
for at in "\${!words[@]}"; do
  case "\${words[at]}" in kvm) words[at]=tcg ;; host) words[at]=max ;; esac
done
exec '${build.tool('qemu-system-x86_64')}' "\${words[@]}" ${more}
`,
        { mode: 0o755 },
      );
      const qemu = { program: asTcg, args: build.systemArgs, storageDaemon: 'none', environment: build.env };
      const timeoutMs = 60_000;
      assert.equal(await probedAccelerator(qemu, join(directory, 'run'), { timeoutMs }), accelerator);
    });
