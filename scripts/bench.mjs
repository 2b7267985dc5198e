// Bundles the bench as the programs are bundled and runs it: what it measures inside its own process then runs as users run it.
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { bundleOptions } from './bundles.mjs';
import { ownAddress } from './bundle-tests.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
await build({
  ...bundleOptions,
  absWorkingDir: root,
  entryPoints: { main: 'bench/main.ts', 'index-lookups': 'bench/index-lookups.ts', 'tls-receiver': 'bench/tls-receiver.ts' },
  outdir: 'dist/bench',
  format: 'esm',
  sourcemap: 'linked',
  outExtension: { '.js': '.mjs' },
  banner: { js: "import { createRequire as requireFor } from 'node:module'; const require = requireFor(import.meta.url);" },
  // The guest of the tests has its sources beside it.
  plugins: [ownAddress(/\/test\/.*\.ts$/)],
});
await import('../dist/bench/main.mjs');
