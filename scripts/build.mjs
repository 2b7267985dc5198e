// Bundles the programs into dist/: the CLI and the worker that its threads run, with the chunker's WebAssembly and the compiled file calls
// beside them.
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

export const bundleOptions = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  sourcemap: 'linked',
  // Only what has native code stays outside: loading the others file by file would cost a quarter of a second at each start.
  external: ['@napi-rs/blake-hash', '@node-rs/argon2', 'better-sqlite3', 'zstd-napi'],
  minifySyntax: true,
  banner: { js: "import { createRequire as requireFor } from 'node:module'; const require = requireFor(import.meta.url);" },
  logLevel: 'warning',
};

/** One C file against Node's stable ABI, in under a second; it lies beside its source for tests and beside the bundle for the program. */
function buildFileCalls() {
  const source = 'src/agent/tree/file-calls.c';
  const target = 'src/agent/tree/file-calls.node';
  if (!existsSync(target) || statSync(target).mtimeMs < statSync(source).mtimeMs) {
    const options = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-DNODE_GYP_MODULE_NAME=file_calls'];
    // Renamed into place: a process that has the old one loaded keeps it.
    const command = ['-I', 'node_modules/node-api-headers/include', '-o', `${target}.tmp`, source];
    const { status, error } = spawnSync(process.env.CC ?? 'cc', [...options, ...command], { stdio: ['ignore', 'inherit', 'inherit'] });
    if (status !== 0) throw new Error(`a C compiler is needed, as for npm ci: apt-get install -y gcc (${error?.message ?? `cc ended with ${status}`})`);
    renameSync(`${target}.tmp`, target);
  }
  rmSync('dist/file-calls.node', { force: true });
  copyFileSync(target, 'dist/file-calls.node');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.chdir(fileURLToPath(new URL('..', import.meta.url)));
  mkdirSync('dist', { recursive: true });
  buildFileCalls();
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
