#!/usr/bin/env node
// What Node runs first, for the program and for each of its threads: runs the bundle beside it by the byte code that the build has kept of it.
// Byte code of another Node is refused by V8, and the source is compiled as ever.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants, Script } from 'node:vm';

/** Set by the build: the bundle's name, with a hash of what is in it, for V8 tells byte code of other source by its length alone. */
declare const BUNDLE: string;

type Bundle = (exports: object, require: NodeJS.Require, module: object, filename: string, dirname: string) => void;

function runBundle(): { readonly done?: Promise<void> } {
  const filename = `${__dirname}/${BUNDLE}.js`;
  const require = createRequire(filename);
  // Who wants source maps gets a bundle that Node itself has loaded.
  if (process.sourceMapsEnabled) return require(filename) as object;
  const script = new Script(readFileSync(filename, 'latin1'), {
    filename,
    cachedData: byteCode(`${filename}.bytecode`),
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  const module = { exports: {} };
  (script.runInThisContext() as Bundle)(module.exports, require, module, filename, __dirname);
  return module.exports;
}

function byteCode(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

/** Settles when the command has ended; of a thread there is none. */
export const { done } = runBundle();
