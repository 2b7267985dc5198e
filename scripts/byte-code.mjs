// Keeps the byte code of the bundles in dist/ beside them: what a command compiles at its start then takes a few milliseconds. Commands are run on a
// datastore of their own, so that what they compiled on the way is kept too.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PRELOAD = fileURLToPath(new URL('byte-code-preload.cjs', import.meta.url));
const IMAGE_BYTES = 4 << 20;

/** `bundles`: names of bundles in `folder`, without `.js`. Those that have their byte code keep it: their names change with what is in them. */
export function keepByteCode(folder, bundles) {
  const files = bundles.map((bundle) => join(folder, `${bundle}.js.bytecode`));
  if (files.every(existsSync)) return;
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-build-'));
  try {
    const [image, repository] = [join(scratch, 'image'), join(scratch, 'store')];
    writeFileSync(image, Buffer.alloc(IMAGE_BYTES, 'what a disk may hold'));
    const run = (...args) => {
      const options = { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, HOME: scratch } };
      execFileSync(process.execPath, ['--require', PRELOAD, join(folder, 'holdfast.js'), ...args, '--repository', repository], options);
    };
    run('datastore', 'create');
    run('backup', '--group', 'vm/1', `disk.img:${image}`);
    run('backup', '--group', 'vm/1', `disk.img:${image}`);
    run('restore', 'vm/1/latest', 'disk.img', join(scratch, 'restored'));
    run('snapshot', 'list');
    run('snapshot', 'forget', 'vm/1/latest');
    run('datastore', 'gc');
  } finally {
    rmSync(scratch, { recursive: true });
  }
  const missing = files.filter((file) => !existsSync(file));
  if (missing.length > 0) throw new Error(`no byte code was kept: ${missing.join(', ')}`);
}
