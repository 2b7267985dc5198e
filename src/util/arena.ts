// One thread's WebAssembly memory: O_DIRECT works only from such memory, and the chunker computes in it.
// A bump allocator of 4 KiB-aligned areas that live as long as the thread.

const WASM_PAGE = 65536;

/** An area of the arena: where it starts for WebAssembly, and the same bytes for JavaScript. */
export interface Area {
  readonly pointer: number;
  readonly bytes: Uint8Array;
}

export class Arena {
  readonly memory: WebAssembly.Memory;
  /** The whole memory; it never grows, so views stay valid. */
  readonly bytes: Uint8Array;
  #next: number;

  /** `reservedBytes` at the start belong to the chunker. Untouched memory costs nothing. */
  constructor(sizeBytes: number, reservedBytes = WASM_PAGE) {
    const pages = Math.ceil(sizeBytes / WASM_PAGE);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.bytes = new Uint8Array(this.memory.buffer);
    this.#next = reservedBytes;
  }

  allocate(sizeBytes: number): Area {
    const pointer = this.#next;
    const end = pointer + Math.ceil(sizeBytes / 4096) * 4096;
    if (end > this.bytes.length)
      throw new Error(`arena of ${this.bytes.length} bytes is too small for ${sizeBytes} more`);
    this.#next = end;
    return { pointer, bytes: this.bytes.subarray(pointer, pointer + sizeBytes) };
  }
}
