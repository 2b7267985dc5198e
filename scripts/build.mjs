// Bundles the programs into dist/: the CLI and the worker that its threads run, with the chunker's WebAssembly beside them.
import { chmodSync, copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

export const bundleOptions = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  sourcemap: 'linked',
  // Only what has native code stays outside: loading the others file by file would cost a quarter of a second at each start.
  external: ['@napi-rs/blake-hash', 'better-sqlite3', 'zstd-napi'],
  minifySyntax: true,
  banner: { js: "import { createRequire as requireFor } from 'node:module'; const require = requireFor(import.meta.url);" },
  logLevel: 'warning',
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.chdir(fileURLToPath(new URL('..', import.meta.url)));
  mkdirSync('dist', { recursive: true });
  for (const name of readdirSync('dist')) if (name.startsWith('chunk-')) rmSync(`dist/${name}`);
  await build({
    ...bundleOptions,
    entryPoints: { holdfast: 'src/cli/main.ts', worker: 'src/worker.ts' },
    outdir: 'dist',
    splitting: true,
    chunkNames: 'chunk-[hash]',
  });
  copyFileSync('src/chunker/chunker.wasm', 'dist/chunker.wasm');
  chmodSync('dist/holdfast.js', 0o755);
}
