// Builds the program into dist/: its bundles and that of the worker that its threads run, with their byte code, the chunker's WebAssembly and the
// compiled file calls beside them.
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { writeBundles, writeLoader } from './bundles.mjs';
import { keepByteCode } from './byte-code.mjs';

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

/** Bundles of the builds that are kept, the newest first. */
const BUILDS = 'dist/builds.json';

/** Removes the bundles of old builds. Those of the one before stay: a server that runs on while its program is built anew may ask for some yet. */
function removeOldBundles(bundles) {
  const before = existsSync(BUILDS) ? JSON.parse(readFileSync(BUILDS, 'utf8')) : [];
  const builds = [bundles, ...before.filter((build) => build[0] !== bundles[0])].slice(0, 2);
  writeFileSync(BUILDS, `${JSON.stringify(builds)}\n`);
  const kept = new Set(builds.flat());
  for (const name of readdirSync('dist')) if (/^(holdfast|worker|chunk)-/.test(name) && !kept.has(name.split('.')[0])) rmSync(`dist/${name}`);
}

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
mkdirSync('dist', { recursive: true });
writeFileSync('dist/package.json', '{ "type": "commonjs" }\n');
buildFileCalls();
copyFileSync('src/chunker/chunker.wasm', 'dist/chunker.wasm');
const program = await writeBundles('dist', 'holdfast', 'src/cli/main.ts', { split: true });
const worker = await writeBundles('dist', 'worker', 'src/worker.ts', { split: false });
await writeLoader('dist', 'holdfast', program[0]);
await writeLoader('dist', 'worker', worker[0]);
chmodSync('dist/holdfast.js', 0o755);
removeOldBundles([...program, ...worker]);
await keepByteCode('dist', [program[0], worker[0]]);
