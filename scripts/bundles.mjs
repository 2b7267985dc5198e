// Bundles are scripts, not modules, for V8 keeps byte code of these alone. The program is many of them, each loaded when something in it is asked
// for: a backup needs a seventh of what the server needs. The worker is one, so that its inner loops call what lies beside them.
import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build, transform } from 'esbuild';

export const bundleOptions = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  // Only what has native code stays outside: loading the others file by file would cost a quarter of a second at each start.
  external: ['@napi-rs/blake-hash', '@node-rs/argon2', 'better-sqlite3', 'zstd-napi'],
  minifySyntax: true,
  logLevel: 'warning',
};

/** Bundles ask for others by `require`, at once or later, which the loader answers by their byte code. */
const AS_SCRIPT = { format: 'cjs', platform: 'node', target: 'node20', supported: { 'dynamic-import': false } };

/** A bundle is one function: what the file gives as a script, and what is called when Node loads it as a module. */
const AROUND = {
  banner:
    "((run) => typeof module === 'undefined' ? run : run(exports, require, module, __filename, __dirname))(function (exports, require, module, __filename, __dirname) {",
  footer: '})',
};

/** Writes the bundles of one entry, `folder`/`name`-HASH.js first. Returns their names, without `.js`. */
export async function writeBundles(folder, name, entry, { split }) {
  const { outputFiles, metafile } = await build({
    ...bundleOptions,
    entryPoints: { [name]: entry },
    entryNames: '[name]-[hash]',
    chunkNames: 'chunk-[hash]',
    outdir: folder,
    format: 'esm',
    splitting: split,
    sourcemap: 'inline',
    metafile: true,
    write: false,
    define: { 'import.meta.url': 'moduleUrl' },
    banner: { js: "const moduleUrl = require('node:url').pathToFileURL(__filename).href;" },
    // Comments may have other characters than ASCII, and a bundle is read as if it had none.
    legalComments: 'linked',
  });
  const main = Object.keys(metafile.outputs).find((path) => metafile.outputs[path].entryPoint === entry);
  const names = [basename(main, '.js')];
  for (const { path, text } of outputFiles) {
    if (path.endsWith('.LEGAL.txt')) {
      writeFileSync(path, text);
      continue;
    }
    const each = basename(path, '.js');
    const { code, map } = await transform(text, { ...AROUND, ...AS_SCRIPT, sourcemap: 'external' });
    writeFileSync(join(folder, `${each}.js`), `${code}//# sourceMappingURL=${each}.js.map\n`);
    writeFileSync(join(folder, `${each}.js.map`), map);
    if (each !== names[0]) names.push(each);
  }
  return names;
}

/** Writes `folder`/`name`.js, which runs a bundle and what it asks for by their byte code. */
export async function writeLoader(folder, name, bundle) {
  const define = { BUNDLE: JSON.stringify(bundle) };
  await build({ ...bundleOptions, entryPoints: { [name]: 'src/load-bundle.ts' }, outdir: folder, format: 'cjs', define });
}
