// Programs for other threads and processes: the TypeScript loader does not reach worker threads in Node 20, so a small program is
// bundled into one file. It lies below node_modules, so that packages are found from it.
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const cache = fileURLToPath(new URL('../../node_modules/.cache/', import.meta.url));

/** Bundles TypeScript text whose imports are relative to `src/`; returns the address of the program. */
export async function bundle(t: Pick<TestContext, 'after'>, contents: string): Promise<URL> {
  mkdirSync(cache, { recursive: true });
  const directory = mkdtempSync(join(cache, 'holdfast-test-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  // Also for a process of another user.
  chmodSync(directory, 0o755);
  const outfile = join(directory, 'program.mjs');
  const resolveDir = join(dirname(fileURLToPath(import.meta.url)), '../../src');
  await build({
    stdin: { contents, resolveDir, loader: 'ts', sourcefile: 'program.ts' },
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    logLevel: 'error',
  });
  return pathToFileURL(outfile);
}
