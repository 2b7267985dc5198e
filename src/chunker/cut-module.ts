// Loads the compiled chunker, which lies beside this file: in src/chunker/ and, next to the bundle, in dist/.
import { readFileSync } from 'node:fs';

/** What the WebAssembly module exports. Pointers and lengths are bytes of the imported memory; flags are 0 or 1. */
export interface CutExports {
  isZero(ptr: number, length: number): number;
  setDisk(seedLow: bigint, seedHigh: bigint, averageBytes: number): void;
  nextDisk(ptr: number, available: number, final: number, afterHole: number): number;
  setStream(seedLow: bigint, seedHigh: bigint, averageBytes: number): void;
  nextStream(ptr: number, available: number, final: number): number;
}

/** Compiles the module (some 4 KB, under a millisecond); a thread does so once and gives it to each of its cutters. */
export function loadCutModule(): WebAssembly.Module {
  return new WebAssembly.Module(readFileSync(new URL('chunker.wasm', import.meta.url)));
}

/** A new instance, with its own parameters, over `memory`, which it reads and never writes. */
export function instantiateCutModule(module: WebAssembly.Module, memory: WebAssembly.Memory): CutExports {
  return new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as CutExports;
}
