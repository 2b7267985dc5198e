// Bundles test files, with what they import in shared chunks: loading them one by one through a TypeScript loader costs a second a file.
// `import.meta.url` stays the address of the source, so that files beside it are found from it.
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const CACHE = `${root}node_modules/.cache/`;

const ownAddress = {
  name: 'own-address',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href)),
      loader: 'ts',
      resolveDir: dirname(path),
    }));
  },
};

/** Bundles the files, paths from the project's root, into a folder below node_modules of this process; returns the bundles' paths. */
export async function bundleTests(files) {
  const outdir = `${CACHE}tests-${process.pid}`;
  mkdirSync(outdir, { recursive: true });
  process.on('exit', () => rmSync(outdir, { recursive: true, force: true }));
  await build({
    absWorkingDir: root,
    entryPoints: files,
    outbase: 'test',
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    sourcemap: 'linked',
    sourcesContent: false,
    external: ['@napi-rs/blake-hash', '@node-rs/argon2', 'better-sqlite3', 'zstd-napi', 'esbuild', 'typescript', 'assemblyscript'],
    banner: { js: "import { createRequire as requireFor } from 'node:module'; const require = requireFor(import.meta.url);" },
    logLevel: 'error',
    plugins: [ownAddress],
  });
  return files.map((file) => resolve(outdir, relative('test', file).replace(/\.ts$/, '.mjs')));
}
