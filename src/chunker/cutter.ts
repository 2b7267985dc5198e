// Finds cut points in bytes that lie in a WebAssembly memory, by the rules at the head of wasm/chunker.ts. It only reads
// that memory, every byte of which is the caller's, and allocates nothing per call.
import { type CutExports, instantiateCutModule, loadCutModule } from './cut-module.ts';
import {
  checkDiskCutParameters,
  checkStreamCutParameters,
  type DiskCutParameters,
  type StreamCutParameters,
} from './cut-parameters.ts';

/**
 * Finds the next piece. `ptr` is the start of the piece, `available` the number of readable bytes from there (0 to 1 GiB),
 * all inside the memory. The answer depends on the bytes and parameters only, not on how much was available.
 */
export interface Cutter {
  setDisk(parameters: DiskCutParameters): void;
  setStream(parameters: StreamCutParameters): void;
  /**
   * `final`: ptr + available is the end of the page. `afterHole`: the piece before, in this page, was a hole.
   * Returns 0 for "give me more" (never when final or available >= maxBytes + 16 KiB, unless available is 0), n > 0 for
   * a data piece of n bytes, n < 0 for a hole of -n bytes. A hole may come in parts: merge neighbours.
   */
  nextDisk(ptr: number, available: number, final: boolean, afterHole: boolean): number;
  /**
   * `final`: ptr + available is the end of the stream. Returns the length of the next piece, or 0 for "give me more" (never
   * when final or available >= maxBytes, unless available is 0).
   */
  nextStream(ptr: number, available: number, final: boolean): number;
  /** Whether the bytes are all zero; true for none. Stops early on data. */
  isZero(ptr: number, length: number): boolean;
}

/** `setDisk` or `setStream` must come before the first `next...` of that kind. They throw `bad-argument`. */
export function createCutter(memory: WebAssembly.Memory, module: WebAssembly.Module = loadCutModule()): Cutter {
  return new WasmCutter(instantiateCutModule(module, memory));
}

class WasmCutter implements Cutter {
  readonly #exports: CutExports;

  constructor(exports: CutExports) {
    this.#exports = exports;
  }

  setDisk(parameters: DiskCutParameters): void {
    const { averageBytes, cutSeed } = checkDiskCutParameters(parameters);
    this.#exports.setDisk(...seedWords(cutSeed), averageBytes);
  }

  setStream(parameters: StreamCutParameters): void {
    const { averageBytes, cutSeed } = checkStreamCutParameters(parameters);
    this.#exports.setStream(...seedWords(cutSeed), averageBytes);
  }

  nextDisk(ptr: number, available: number, final: boolean, afterHole: boolean): number {
    return this.#exports.nextDisk(ptr, available, final ? 1 : 0, afterHole ? 1 : 0);
  }

  nextStream(ptr: number, available: number, final: boolean): number {
    return this.#exports.nextStream(ptr, available, final ? 1 : 0);
  }

  isZero(ptr: number, length: number): boolean {
    return this.#exports.isZero(ptr, length) === 1;
  }
}

function seedWords(cutSeed: string): [bigint, bigint] {
  const bytes = Buffer.from(cutSeed, 'hex');
  return [bytes.readBigInt64LE(0), bytes.readBigInt64LE(8)];
}
