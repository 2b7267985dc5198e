// Bundles the programs into dist/: the CLI and the worker that its threads run, with the byte code of both, the chunker's WebAssembly and the
// compiled file calls beside them.
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { keepByteCode } from './byte-code.mjs';

export const bundleOptions = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  sourcemap: 'linked',
  // Only what has native code stays outside: loading the others file by file would cost a quarter of a second at each start.
  external: ['@napi-rs/blake-hash', '@node-rs/argon2', 'better-sqlite3', 'zstd-napi'],
  minifySyntax: true,
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

/** The bundle as one function: what the file gives as a script, and what is called when Node loads it as a module. */
const AROUND = {
  before:
    "((run) => typeof module === 'undefined' ? run : run(exports, require, module, __filename, __dirname))(function (exports, require, module, __filename, __dirname) {",
  after: '})',
};

/** Bundles are scripts, not modules, for V8 keeps byte code of these alone. Returns their names without `.js`, by entry. */
async function buildBundles(entryPoints) {
  const { metafile } = await build({
    ...bundleOptions,
    entryPoints,
    entryNames: '[name]-[hash]',
    outdir: 'dist',
    format: 'cjs',
    metafile: true,
    define: { 'import.meta.url': 'moduleUrl' },
    banner: { js: `${AROUND.before}const moduleUrl = require('node:url').pathToFileURL(__filename).href;` },
    footer: { js: AROUND.after },
    // Comments may have other characters than ASCII, and the bundle is read as if it had none.
    legalComments: 'linked',
  });
  const sources = Object.entries(metafile.outputs).filter(([, { entryPoint }]) => entryPoint !== undefined);
  const nameOf = (entry) => basename(sources.find(([, { entryPoint }]) => entryPoint === entry)[0], '.js');
  return Object.fromEntries(Object.entries(entryPoints).map(([name, entry]) => [name, nameOf(entry)]));
}

async function buildLoader(name, bundle) {
  const define = { BUNDLE: JSON.stringify(bundle) };
  await build({ entryPoints: { [name]: 'src/load-bundle.ts' }, outdir: 'dist', format: 'cjs', platform: 'node', target: 'node20', bundle: true, define });
  chmodSync(`dist/${name}.js`, 0o755);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.chdir(fileURLToPath(new URL('..', import.meta.url)));
  mkdirSync('dist', { recursive: true });
  writeFileSync('dist/package.json', '{ "type": "commonjs" }\n');
  buildFileCalls();
  copyFileSync('src/chunker/chunker.wasm', 'dist/chunker.wasm');
  const bundles = await buildBundles({ holdfast: 'src/cli/main.ts', worker: 'src/worker.ts' });
  for (const [name, bundle] of Object.entries(bundles)) await buildLoader(name, bundle);
  const current = Object.values(bundles);
  for (const name of readdirSync('dist')) if (/^(holdfast|worker|chunk)-/.test(name) && !current.some((bundle) => name.startsWith(bundle))) rmSync(`dist/${name}`);
  keepByteCode('dist', current);
}
