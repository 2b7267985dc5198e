// Bundles test files, with what they import in shared chunks: loading them one by one through a TypeScript loader costs a second a file.
// `import.meta.url` stays the address of the source, so that files beside it are found from it.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const CACHE = `${root}node_modules/.cache/`;

/** Keeps the sources that match at their own addresses. */
export const ownAddress = (filter) => ({
  name: 'own-address',
  setup({ onLoad }) {
    onLoad({ filter }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href)),
      loader: 'ts',
      resolveDir: dirname(path),
    }));
  },
});

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
    plugins: [ownAddress(/\.ts$/)],
  });
  return files.map((file) => resolve(outdir, relative('test', file).replace(/\.ts$/, '.mjs')));
}

/** What of a file reaches beyond it when it shares a process: hooks of the whole process, its environment, mocks. */
const REACHES_OUT = /^(before|after|beforeEach|afterEach)\(|process\.(env\.\w+ =|chdir|umask|exitCode)|\bmock\./m;
const FILES_A_PROCESS = 8;

/** Bundles with the same tests that share processes where they can: to start one takes 0.2 s. For runs in which one file may end others. */
export function shareProcesses(files, bundles) {
  const alone = bundles.filter((_, place) => REACHES_OUT.test(readFileSync(files[place], 'utf8')));
  const sharing = bundles.filter((bundle) => !alone.includes(bundle));
  const shared = [];
  for (let at = 0; at < sharing.length; at += FILES_A_PROCESS) {
    const path = resolve(dirname(sharing[0]), `shared-${at}.mjs`);
    writeFileSync(path, sharing.slice(at, at + FILES_A_PROCESS).map((each) => `import ${JSON.stringify(each)};\n`).join(''));
    shared.push(path);
  }
  return [...alone, ...shared];
}
