// Content-defined cut points in WebAssembly SIMD (AssemblyScript; `npm run build:wasm`). Part of the on-disk format:
// a change of any rule below needs a new algorithm name. The module reads the imported memory and never writes it; it has
// no data segment, its state is in globals. Sizes: averageBytes = 2^k, minBytes = average / 4, maxBytes = average * 4.
// All integers are little endian; + - * wrap. `top(h, n)` = the n highest bits of h.
//
// SEED. low, high = the two u64 of the 16 byte cut seed. next(), with the algorithm's tag (8 ASCII bytes, u64) as start:
//   on setting:  state = low ^ tag
//   each call:   state += 9E3779B97F4A7C15; z = (state ^ state >> 30) * BF58476D1CE4E5B9 ^ high;
//                z = (z ^ z >> 27) * 94D049BB133111EB; return z ^ z >> 31
//
// DISKS, `blk4k-1` (tag "blk4k-1\0"). A page is cut by itself, from its start, in blocks of 4096 bytes; the last block of
// a page may be shorter, and is a zero block when all the bytes it has are zero. A piece starts at offset s of the page:
//   hole  z = number of consecutive zero blocks from s. If z >= 4, or z >= 1 and the run ends the page, the piece is that
//         whole run, a hole. (It may be handed out in several parts; neighbouring holes are to be merged.)
//   data  otherwise. For p = z + 1, z + 2, ... the piece ends after p blocks as soon as one of these holds (so no data piece
//         is all zero):
//         - the page ends there (a zero tail of 1 to 3 blocks belongs to the piece)
//         - p * 4096 >= maxBytes
//         - the 4 blocks from there are all zero (four blocks must exist; the short last one counts)
//         - p * 4096 >= minBytes, the block there is a whole one, and top(hash(block), bits) = 0 with
//           bits = log2(average / 4096) + (p * 4096 < averageBytes ? 1 : -1)
//   hash  Setting: 8 next() give 16 u32 I[0..15] (low half first), 2 more give 4 u32 m[i] = word & ~7 | 5.
//         A[0..15] = I; for each 64 bytes of the block as 16 u32 x: A[i] = (A[i] ^ x[i]) * m[i & 3].
//         for i in 0..3: v[i] = A[i] + rotl(A[4 + i], 7) + rotl(A[8 + i], 13) + rotl(A[12 + i], 19)
//                        v[i] = (v[i] ^ v[i] >> 15) * 85EBCA77; v[i] = (v[i] ^ v[i] >> 13) * C2B2AE3D
//         h = v[0] + rotl(v[1], 8) + rotl(v[2], 16) + rotl(v[3], 24)
//         h = (h ^ h >> 16) * 85EBCA6B; h = (h ^ h >> 13) * C2B2AE35; h ^= h >> 16
//
// STREAMS, `simd-1` (tag "simd-1\0\0"), byte granular, no holes. b[] = the stream. Setting: 2 next() give the 16 bytes
// LO[], 2 more HI[], one more the u64 K. A piece ends after n = 1, 2, ... bytes as soon as one of these holds:
//         - the stream ends there
//         - n = maxBytes
//         - n >= minBytes, and with i the index of the last byte of the piece
//           c(i) = 91 (decimal), and top(hash(i), bits) = 0 with bits = log2(average) - 8 + (n < averageBytes ? 1 : -1)
//   c     u8: g(i) = LO[b[i] & 15] + HI[b[i] >> 4];  a(i) = g(i) + 3 * g(i - 5);  d(i) = a(i) - a(i - 7);
//         c(i) = d(i) - d(i - 11). It depends on 8 of the last 24 bytes, and is 0 wherever one byte value repeats.
//         (Spread taps and odd factors, as text has few different runs of 8 bytes: over 16 seeds and 9 kinds of data the
//         rate of c = 91 strays from 1/256 by 1.2x on average and 3.7x at worst; with shifts for factors 1.6x and 13x.)
//   hash  u64: w[0..3] = the 32 bytes that end with b[i]. h = K; for each w: h = (h ^ w) * 9FB21C651E98DF25; h ^= h >> 32.
//         Then h *= 9E3779B97F4A7C15.

const BLOCK: usize = 4096;
const HOLE_BLOCKS: usize = 4;
const CANDIDATE: i8 = 91;

// ---- seed

let seedState: u64 = 0;
let seedHigh: u64 = 0;

function nextWord(): u64 {
  seedState += 0x9e3779b97f4a7c15;
  let z = ((seedState ^ (seedState >> 30)) * 0xbf58476d1ce4e5b9) ^ seedHigh;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

function nextVector(): v128 {
  const low = nextWord();
  return i64x2.replace_lane(i64x2.splat(low), 1, nextWord());
}

// ---- zeros

/** Whether `length` bytes from `ptr` are all zero. */
function zeros(ptr: usize, length: usize): bool {
  const end = ptr + length;
  if (length >= 16) {
    if (v128.any_true(v128.load(ptr))) return false;
    while (ptr + 128 <= end) {
      const a = v128.or(v128.or(v128.load(ptr), v128.load(ptr, 16)), v128.or(v128.load(ptr, 32), v128.load(ptr, 48)));
      const b = v128.or(v128.or(v128.load(ptr, 64), v128.load(ptr, 80)), v128.or(v128.load(ptr, 96), v128.load(ptr, 112)));
      if (v128.any_true(v128.or(a, b))) return false;
      ptr += 128;
    }
    while (ptr + 16 <= end) {
      if (v128.any_true(v128.load(ptr))) return false;
      ptr += 16;
    }
  }
  while (ptr < end) {
    if (load<u8>(ptr) != 0) return false;
    ptr++;
  }
  return true;
}

export function isZero(ptr: usize, length: usize): i32 {
  return i32(zeros(ptr, length));
}

// ---- disks

let diskMin: usize = 0;
let diskAverage: usize = 0;
let diskMax: usize = 0;
let strictShift: u32 = 0;
let looseShift: u32 = 0;
let initial0: v128 = i64x2(0, 0);
let initial1: v128 = i64x2(0, 0);
let initial2: v128 = i64x2(0, 0);
let initial3: v128 = i64x2(0, 0);
let multiplier: v128 = i64x2(0, 0);

export function setDisk(low: u64, high: u64, averageBytes: usize): void {
  seedState = low ^ 0x00312d6b346b6c62;
  seedHigh = high;
  initial0 = nextVector();
  initial1 = nextVector();
  initial2 = nextVector();
  initial3 = nextVector();
  multiplier = v128.or(v128.andnot(nextVector(), i32x4.splat(7)), i32x4.splat(5));
  diskMin = averageBytes >> 2;
  diskAverage = averageBytes;
  diskMax = averageBytes << 2;
  const bits: u32 = ctz<u32>(u32(averageBytes / BLOCK));
  strictShift = 32 - (bits + 1);
  looseShift = 32 - (bits - 1);
}

// @ts-ignore: decorator
@inline
function rotateLanes(value: v128, bits: i32): v128 {
  return v128.or(i32x4.shl(value, bits), i32x4.shr_u(value, 32 - bits));
}

function hashBlock(ptr: usize): u32 {
  const m = multiplier;
  let a = initial0;
  let b = initial1;
  let c = initial2;
  let d = initial3;
  const end = ptr + BLOCK;
  do {
    a = i32x4.mul(v128.xor(a, v128.load(ptr)), m);
    b = i32x4.mul(v128.xor(b, v128.load(ptr, 16)), m);
    c = i32x4.mul(v128.xor(c, v128.load(ptr, 32)), m);
    d = i32x4.mul(v128.xor(d, v128.load(ptr, 48)), m);
    a = i32x4.mul(v128.xor(a, v128.load(ptr, 64)), m);
    b = i32x4.mul(v128.xor(b, v128.load(ptr, 80)), m);
    c = i32x4.mul(v128.xor(c, v128.load(ptr, 96)), m);
    d = i32x4.mul(v128.xor(d, v128.load(ptr, 112)), m);
    ptr += 128;
  } while (ptr != end);
  let v = i32x4.add(i32x4.add(a, rotateLanes(b, 7)), i32x4.add(rotateLanes(c, 13), rotateLanes(d, 19)));
  v = i32x4.mul(v128.xor(v, i32x4.shr_u(v, 15)), i32x4.splat(0x85ebca77));
  v = i32x4.mul(v128.xor(v, i32x4.shr_u(v, 13)), i32x4.splat(0xc2b2ae3d));
  let h: u32 =
    i32x4.extract_lane(v, 0) +
    rotl<u32>(i32x4.extract_lane(v, 1), 8) +
    rotl<u32>(i32x4.extract_lane(v, 2), 16) +
    rotl<u32>(i32x4.extract_lane(v, 3), 24);
  h = (h ^ (h >> 16)) * 0x85ebca6b;
  h = (h ^ (h >> 13)) * 0xc2b2ae35;
  return h ^ (h >> 16);
}

/** Length of the run of zero blocks from `ptr`, of which `length` bytes are known. */
function zeroRun(ptr: usize, length: usize): usize {
  let run: usize = 0;
  while (run < length) {
    const size = min<usize>(BLOCK, length - run);
    if (!zeros(ptr + run, size)) break;
    run += size;
  }
  return run;
}

/** 0 = need more data, n > 0 = a data piece of n bytes, n < 0 = a hole (or a part of one) of -n bytes. */
export function nextDisk(ptr: usize, available: usize, final: bool, afterHole: bool): i32 {
  // Without the page's end a part of a block says nothing: it may grow.
  const known = final ? available : available & ~(BLOCK - 1);
  if (known == 0) return 0;
  const run = zeroRun(ptr, known);
  if (run != 0 && (afterHole || run >= HOLE_BLOCKS * BLOCK || (run == known && final))) return -i32(run);
  // Not inside the zeros that the piece begins with: run is 0, or whole blocks and fewer than 4.
  let at = run + BLOCK;
  while (true) {
    if (at >= known && final) return i32(known);
    if (at >= diskMax) return i32(at);
    if (at >= known) return 0;
    if (known - at < 16 || !v128.any_true(v128.load(ptr + at))) {
      const zeroBytes = zeroRun(ptr + at, min<usize>(HOLE_BLOCKS * BLOCK, known - at));
      if (zeroBytes > (HOLE_BLOCKS - 1) * BLOCK) return i32(at);
      if (zeroBytes == known - at && !final) return 0;
    }
    if (at >= diskMin && at + BLOCK <= known) {
      if (hashBlock(ptr + at) >> (at < diskAverage ? strictShift : looseShift) == 0) return i32(at);
    }
    at += BLOCK;
  }
}

// ---- streams

let streamMin: usize = 0;
let streamAverage: usize = 0;
let streamMax: usize = 0;
let strictShift64: u64 = 0;
let looseShift64: u64 = 0;
let streamKey: u64 = 0;
let tableLow: v128 = i64x2(0, 0);
let tableHigh: v128 = i64x2(0, 0);

export function setStream(low: u64, high: u64, averageBytes: usize): void {
  seedState = low ^ 0x0000312d646d6973;
  seedHigh = high;
  tableLow = nextVector();
  tableHigh = nextVector();
  streamKey = nextWord();
  streamMin = averageBytes >> 2;
  streamAverage = averageBytes;
  streamMax = averageBytes << 2;
  const bits: u64 = ctz<u32>(u32(averageBytes)) - 8;
  strictShift64 = 64 - (bits + 1);
  looseShift64 = 64 - (bits - 1);
}

/** Whether the 32 bytes before `end` end a piece of `length` bytes. */
function isCut(end: usize, length: usize): bool {
  let h = streamKey;
  h = (h ^ load<u64>(end - 32)) * 0x9fb21c651e98df25;
  h ^= h >> 32;
  h = (h ^ load<u64>(end - 24)) * 0x9fb21c651e98df25;
  h ^= h >> 32;
  h = (h ^ load<u64>(end - 16)) * 0x9fb21c651e98df25;
  h ^= h >> 32;
  h = (h ^ load<u64>(end - 8)) * 0x9fb21c651e98df25;
  h ^= h >> 32;
  h *= 0x9e3779b97f4a7c15;
  return h >> (length < streamAverage ? strictShift64 : looseShift64) == 0;
}

// @ts-ignore: decorator
@inline
function gear(data: v128, low: v128, high: v128): v128 {
  return i8x16.add(
    v128.swizzle(low, v128.and(data, i8x16.splat(15))),
    v128.swizzle(high, i8x16.shr_u(data, 4)),
  );
}

// Each step reads the vector before it too; the lanes are those of (before, now) moved on by 5, 7 and 11 bytes.
// @ts-ignore: decorator
@inline
function step5(before: v128, now: v128): v128 {
  const moved = v128.shuffle<u8>(before, now, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26);
  return i8x16.add(i8x16.add(now, moved), i8x16.add(moved, moved));
}

// @ts-ignore: decorator
@inline
function step7(before: v128, now: v128): v128 {
  return i8x16.sub(now, v128.shuffle<u8>(before, now, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24));
}

// @ts-ignore: decorator
@inline
function step11(before: v128, now: v128): v128 {
  return i8x16.sub(now, v128.shuffle<u8>(before, now, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20));
}

/** 0 = need more data, else the length of the next piece. */
export function nextStream(ptr: usize, available: usize, final: bool): i32 {
  const limit = min<usize>(available, streamMax);
  if (limit >= streamMin) {
    const low = tableLow;
    const high = tableHigh;
    const wanted = i8x16.splat(CANDIDATE);
    const first = streamMin - 1;
    let at = first;
    let g = i64x2.splat(0);
    let a = i64x2.splat(0);
    let d = i64x2.splat(0);
    let primed = false;
    for (;;) {
      if (at + 64 > limit) {
        if (at >= limit) break;
        // The rest is tested as the last 64 bytes: positions seen twice give the same answer, those before `first` none.
        at = limit - 64;
        primed = false;
      }
      if (!primed) {
        const g0 = gear(v128.load(ptr + at - 32), low, high);
        g = gear(v128.load(ptr + at - 16), low, high);
        a = step5(g0, g);
        d = step7(step5(g0, g0), a);
        primed = true;
      }
      const g1 = gear(v128.load(ptr + at), low, high);
      const a1 = step5(g, g1);
      const d1 = step7(a, a1);
      const e1 = i8x16.eq(step11(d, d1), wanted);
      const g2 = gear(v128.load(ptr + at, 16), low, high);
      const a2 = step5(g1, g2);
      const d2 = step7(a1, a2);
      const e2 = i8x16.eq(step11(d1, d2), wanted);
      const g3 = gear(v128.load(ptr + at, 32), low, high);
      const a3 = step5(g2, g3);
      const d3 = step7(a2, a3);
      const e3 = i8x16.eq(step11(d2, d3), wanted);
      g = gear(v128.load(ptr + at, 48), low, high);
      a = step5(g3, g);
      d = step7(a3, a);
      const e4 = i8x16.eq(step11(d3, d), wanted);
      if (v128.any_true(v128.or(v128.or(e1, e2), v128.or(e3, e4)))) {
        let found =
          u64(<u32>i8x16.bitmask(e1)) |
          (u64(<u32>i8x16.bitmask(e2)) << 16) |
          (u64(<u32>i8x16.bitmask(e3)) << 32) |
          (u64(<u32>i8x16.bitmask(e4)) << 48);
        do {
          const length = at + usize(ctz<u64>(found)) + 1;
          if (length > first && isCut(ptr + length, length)) return i32(length);
          found &= found - 1;
        } while (found != 0);
      }
      at += 64;
    }
    if (limit == streamMax) return i32(limit);
  }
  return final ? i32(available) : 0;
}
