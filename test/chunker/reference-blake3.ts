// BLAKE3 written from the paper (section 2), slow and without any code of ours: what ids and macs are compared with.
const IV = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
const ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
const CHUNK_START = 1;
const CHUNK_END = 2;
const PARENT = 4;
const ROOT = 8;
const KEYED = 16;

interface Node {
  readonly chaining: number[];
  readonly block: number[];
  readonly counter: number;
  readonly length: number;
  readonly flags: number;
}

function mix(v: number[], [a, b, c, d]: [number, number, number, number], x: number, y: number): void {
  const rotate = (value: number, by: number) => (value >>> by) | (value << (32 - by));
  const at = (place: number) => v[place] as number;
  v[a] = (at(a) + at(b) + x) | 0;
  v[d] = rotate(at(d) ^ at(a), 16);
  v[c] = (at(c) + at(d)) | 0;
  v[b] = rotate(at(b) ^ at(c), 12);
  v[a] = (at(a) + at(b) + y) | 0;
  v[d] = rotate(at(d) ^ at(a), 8);
  v[c] = (at(c) + at(d)) | 0;
  v[b] = rotate(at(b) ^ at(c), 7);
}

function compress(node: Node): number[] {
  const { chaining, counter, length, flags } = node;
  const v = [...chaining, ...IV.slice(0, 4), counter | 0, Math.floor(counter / 2 ** 32), length, flags];
  let m = node.block;
  for (let round = 0; round < 7; round++) {
    const word = (place: number) => m[place] as number;
    for (let column = 0; column < 4; column++) {
      mix(v, [column, 4 + column, 8 + column, 12 + column], word(column * 2), word(column * 2 + 1));
    }
    for (let diagonal = 0; diagonal < 4; diagonal++) {
      const places: [number, number, number, number] = [
        diagonal,
        4 + ((diagonal + 1) % 4),
        8 + ((diagonal + 2) % 4),
        12 + ((diagonal + 3) % 4),
      ];
      mix(v, places, word(8 + diagonal * 2), word(9 + diagonal * 2));
    }
    m = ORDER.map(word);
  }
  return Array.from({ length: 8 }, (_, n) => (v[n] as number) ^ (v[n + 8] as number));
}

const wordsOf = (bytes: Uint8Array): number[] => {
  const padded = Buffer.alloc(Math.max(64, Math.ceil(bytes.length / 4) * 4));
  padded.set(bytes);
  return Array.from({ length: padded.length / 4 }, (_, n) => padded.readInt32LE(n * 4));
};

function chunkNode(key: number[], base: number, bytes: Uint8Array, counter: number): Node {
  let chaining = key;
  const blocks = Math.max(1, Math.ceil(bytes.length / 64));
  for (let n = 0; ; n++) {
    const part = bytes.subarray(n * 64, n * 64 + 64);
    const flags = base | (n === 0 ? CHUNK_START : 0) | (n === blocks - 1 ? CHUNK_END : 0);
    const node = { chaining, block: wordsOf(part), counter, length: part.length, flags };
    if (n === blocks - 1) return node;
    chaining = compress(node);
  }
}

function treeNode(key: number[], base: number, bytes: Uint8Array, firstChunk: number): Node {
  if (bytes.length <= 1024) return chunkNode(key, base, bytes, firstChunk);
  // The left subtree is the largest power of two of chunks that leaves something to the right.
  const left = 1024 * 2 ** Math.floor(Math.log2((bytes.length - 1) / 1024));
  const block = [
    ...compress(treeNode(key, base, bytes.subarray(0, left), firstChunk)),
    ...compress(treeNode(key, base, bytes.subarray(left), firstChunk + left / 1024)),
  ];
  return { chaining: key, block, counter: 0, length: 64, flags: base | PARENT };
}

/** 32 bytes of BLAKE3; keyed when a key of 32 bytes is given. */
export function referenceBlake3(bytes: Uint8Array, key?: Uint8Array): Buffer {
  const words = key === undefined ? IV : wordsOf(key).slice(0, 8);
  const root = treeNode(words, key === undefined ? 0 : KEYED, bytes, 0);
  const digest = Buffer.alloc(32);
  compress({ ...root, flags: root.flags | ROOT }).forEach((word, place) => {
    digest.writeInt32LE(word, place * 4);
  });
  return digest;
}

/** The id of an object of space plain, computed as docs/format.md, section 2, says and in no other way. */
export function referenceId(kind: number, refs: Uint8Array, payload: Uint8Array): Buffer {
  const key = referenceBlake3(Buffer.from([...Buffer.from('holdfast object id v1\0plain\0', 'latin1'), kind]));
  const count = Buffer.alloc(4);
  count.writeUInt32LE(refs.length / 32);
  return referenceBlake3(Buffer.concat([count, refs, payload]), key);
}
