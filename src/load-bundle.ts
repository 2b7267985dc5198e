#!/usr/bin/env node
// What Node runs first, for the program and for each of its threads: runs the bundle beside it, and the bundles that this one asks for, by the byte
// code that the build keeps of them. Byte code of another Node is refused by V8, and the source is compiled as ever.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants, Script } from 'node:vm';

/** Set by the build: the bundle's name, with a hash of what is in it, for V8 tells byte code of other source by its length alone. */
declare const BUNDLE: string;

type Bundle = (exports: object, require: NodeJS.Require, module: object, filename: string, dirname: string) => void;

interface Loaded {
  exports: object;
}

/** By name. One that is still running is among them: two bundles may need each other. */
const bundles = new Map<string, Loaded>();

function loadBundle(name: string): object {
  const known = bundles.get(name);
  if (known !== undefined) return known.exports;
  const module: Loaded = { exports: {} };
  bundles.set(name, module);
  try {
    runBundle(name, module);
  } catch (error) {
    // Whoever asks again is to hear it again, and not to get a half.
    bundles.delete(name);
    throw error;
  }
  return module.exports;
}

function runBundle(name: string, module: Loaded): void {
  const filename = `${__dirname}/${name}.js`;
  const script = new Script(readFileSync(filename, 'latin1'), {
    filename,
    cachedData: byteCode(`${filename}.bytecode`),
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  (script.runInThisContext() as Bundle)(module.exports, requireFromBundle, module, filename, __dirname);
}

const requirePackage = createRequire(__filename);
/** Of packages a bundle asks by name, of other bundles by `./NAME.js`. */
const requireFromBundle = Object.assign(
  (id: string): unknown => (/^\.\/\w+-\w+\.js$/.test(id) ? loadBundle(id.slice(2, -3)) : requirePackage(id)),
  requirePackage,
);

function byteCode(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

/** Who wants source maps gets bundles that Node itself has loaded. */
const main = process.sourceMapsEnabled ? requirePackage(`./${BUNDLE}.js`) : loadBundle(BUNDLE);

/** Settles when the command has ended; of a thread there is none. */
export const { done } = main as { readonly done?: Promise<void> };
