// A second reader of the format, written from docs/format.md alone: it imports nothing of src/, so that the document is
// what is tested. It restores one archive, checks every mac, tag, checksum and id on its way, and only reads the store.
// Usage: node test/support/second-reader.mjs [--ns NS] [--all] REPOSITORY vm/101/latest|vm/101/TIME ARCHIVE OUTPUT
// --all also checks every frame of every sealed pack. Exit code 0: all is good. 1: failed, or something damaged was met.
import { closeSync, existsSync, fstatSync, ftruncateSync, openSync, readdirSync, readFileSync, readSync, writeSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { crc32 } from 'node:zlib';
import { Blake3Hasher } from '@napi-rs/blake-hash';
import { decompress } from 'zstd-napi';

const [DATA, PAGE, LIST, BLOB] = [1, 2, 3, 5]; // 4 is reserved
const [RECORD, PAD, CHECKPOINT, FOOTER] = [1, 2, 3, 4];
const BLOCK = 4096;
const PAGE_BYTES = 16 * 1024 * 1024;
const MAX_OBJECT_BYTES = PAGE_BYTES + 65536;

/** The store is not what the document says. */
class FormatError extends Error {}
const check = (condition, message) => {
  if (!condition) throw new FormatError(typeof message === 'function' ? message() : message);
};
/** The result of an action, or what `otherwise` makes of a FormatError. */
const attempt = (action, otherwise = () => undefined) => {
  try {
    return action();
  } catch (error) {
    if (error instanceof FormatError) return otherwise(error);
    throw error;
  }
};
const digest = (hasher, parts) => parts.reduce((so, part) => so.update(part), hasher).digestBuffer();
const b3 = (...parts) => digest(new Blake3Hasher(), parts);
const keyedB3 = (key, ...parts) => digest(Blake3Hasher.newKeyed(key), parts);
const little = (size, value) => Buffer.from(Array.from({ length: size }, (_, n) => Math.floor(value / 256 ** n) % 256));

// Section 3: records.
const ID_KEYS = Array.from({ length: 256 }, (_, kind) => b3(Buffer.from(`holdfast object id v1\0plain\0`), Buffer.of(kind)));

/** The fields of a record whose lengths and checksum hold; its payload is still as stored. */
function parseRecord(bytes) {
  check(bytes.length >= 72 && bytes.toString('latin1', 0, 4) === 'HDFR' && bytes[4] === 1, 'not a record of version 1');
  const [kind, codec, crypt] = bytes.subarray(5, 8);
  const [refCount, storedLength, rawLength] = [8, 12, 16].map((at) => bytes.readUInt32LE(at));
  const [baseCount, depth] = bytes.subarray(20, 22);
  const refsAt = 56 + 32 * baseCount;
  const payloadAt = refsAt + 32 * refCount;
  check(payloadAt + storedLength + 16 === bytes.length, 'the lengths of a record do not add up');
  check(bytes.subarray(-16).equals(b3(bytes.subarray(0, -16)).subarray(0, 16)), 'the checksum of a record does not hold');
  check(kind !== 0 && baseCount <= 4 && depth <= 4 && (baseCount === 0) === (depth === 0), 'impossible kind, bases or depth');
  check(rawLength + 32 * refCount <= MAX_OBJECT_BYTES, 'a record is too long');
  const refs = bytes.subarray(refsAt, payloadAt);
  return { kind, codec, crypt, depth, rawLength, id: bytes.toString('hex', 24, 56), refs, stored: bytes.subarray(payloadAt, -16) };
}

/** The plain payload of a record of space plain, its id checked. */
function plainPayload({ kind, codec, crypt, rawLength, id, refs, stored }) {
  check(crypt === 0 && codec <= 1, () => `object ${id} uses what is reserved: codec ${codec}, crypt ${crypt}`);
  let payload = codec === 0 ? stored : undefined;
  try {
    payload ??= decompress(stored);
  } catch {} // reported by the next line
  check(payload?.length === rawLength, () => `object ${id} does not decode to the length that its record says`);
  const right = keyedB3(ID_KEYS[kind], little(4, refs.length / 32), refs, payload).toString('hex') === id;
  check(right, () => `object ${id} has content of another id`);
  return payload;
}

// Section 6: packs.
class Pack {
  constructor(path, storeId) {
    this.path = path;
    this.fd = openSync(path, 'r');
    this.size = fstatSync(this.fd).size;
    const header = this.read(0, 128);
    this.id = header.toString('hex', 16, 32);
    this.salt = header.subarray(32, 64);
    check(header.subarray(112).equals(b3(header.subarray(0, 112)).subarray(0, 16)), `${path}: the header's mac does not hold`);
    const known = header.toString('latin1', 0, 8) === 'HOLDPACK' && header.readUInt16LE(8) === 1 && header.readUInt32LE(12) === 128;
    check(known && basename(path).startsWith(`${this.id}.`), `${path}: not a pack of version 1 with this name`);
    check(header.toString('hex', 96, 112) === storeId, `${path}: a pack of another store`);
  }

  read(offset, length) {
    check(offset >= 0 && offset + length <= this.size, () => `${this.path}: ends before byte ${offset + length}`);
    const bytes = Buffer.allocUnsafe(length);
    readSync(this.fd, bytes, 0, length, offset);
    return bytes;
  }

  /** The frame at an offset: its tag and the checksum of its record hold. A table is undefined when its mac does not. */
  frame(offset, only) {
    const bad = (what) => () => `${this.path}: ${what} at ${offset}`;
    const head = this.read(offset, 16);
    const [length, type, space] = [head.readUInt32LE(0), head[4], head.readUInt32LE(8)];
    check(type >= RECORD && type <= FOOTER && (only ?? type) === type && head.readUIntLE(5, 3) === 0, bad('no frame'));
    const end = offset + 16 + length;
    check(end <= this.size && (type === PAD || length >= 16) && (type === RECORD || space === 0), bad('an impossible frame'));
    const body = type === PAD ? Buffer.alloc(0) : this.read(offset + 16, length);
    const tag = [this.salt, little(8, offset), head.subarray(0, 12), body.subarray(-16)].reduce((crc, part) => crc32(part, crc), 0);
    check(tag === head.readUInt32LE(12), bad('a bad tag'));
    const record = type === RECORD ? attempt(() => parseRecord(body)) : undefined;
    check(type !== RECORD || record, bad('a bad record'));
    if (type === RECORD || type === PAD) return { type, space, end, body, record };
    const holds = keyedB3(this.salt, body.subarray(0, -16)).subarray(0, 16).equals(body.subarray(-16));
    check(type === FOOTER || (offset % BLOCK === 0 && end % BLOCK === 0), bad('a checkpoint that is not aligned'));
    return { type, end, body, table: holds ? this.table(body, type === CHECKPOINT ? 16 : 8) : undefined };
  }

  table(body, start) {
    const count = body.readUInt32LE(0);
    check(start + 48 * count + 16 <= body.length, () => `${this.path}: a table is longer than its body`);
    return Array.from({ length: count }, (_, n) => {
      const at = start + 48 * n;
      const [space, offset, length] = [32, 36, 40].map((field) => body.readUInt32LE(at + field));
      return { pack: this, id: body.toString('hex', at, at + 32), space, offset, length, kind: body[at + 44], depth: body[at + 45] };
    });
  }

  /** The entries of a sealed pack, from its footer. */
  sealed() {
    check(this.size % BLOCK === 0, `${this.path}: does not end at a multiple of ${BLOCK}`);
    const trailer = this.read(this.size - 64, 64);
    const mine = trailer.toString('latin1', 0, 8) === 'HOLDFOOT' && trailer.toString('hex', 24, 40) === this.id;
    check(mine, `${this.path}: no trailer of this pack at the end`);
    const footer = this.frame(Number(trailer.readBigUInt64LE(8)), FOOTER);
    check(footer.table !== undefined, `${this.path}: the mac of the footer does not hold`);
    check(footer.end === this.size && footer.table.length === trailer.readUInt32LE(16), `${this.path}: footer and trailer contradict`);
    return footer.table;
  }

  /** The good records of a pack by the frame rules alone. `onGap` hears of each place where the frames stop being good. */
  scan(onGap) {
    const entries = [];
    for (let offset = 128, next; offset < this.size; offset = next) {
      const { type, space, end, body, record, table } = attempt(() => this.frame(offset), onGap) ?? {};
      if (type >= CHECKPOINT && !table) onGap?.(new FormatError(`${this.path}: a bad mac at ${offset}`));
      if (type === FOOTER) break;
      const { id, kind, depth } = record ?? {};
      if (record) entries.push({ pack: this, id, space, offset: offset + 16, length: body.length, kind, depth });
      next = end;
      for (let at = Math.ceil(offset / BLOCK) * BLOCK; next === undefined && at < this.size; at += BLOCK) {
        const checkpoint = attempt(() => this.frame(at, CHECKPOINT));
        for (const entry of checkpoint?.table ?? []) {
          const found = entry.offset > offset && attempt(() => parseRecord(this.read(entry.offset, entry.length)));
          // The frame around it may be what is bad: such a record is taken at the table's word.
          if (found && found.id === entry.id) entries.push({ ...entry, unframed: true });
        }
        if (checkpoint?.table) next = checkpoint.end;
      }
      next ??= this.size;
    }
    return entries;
  }
}

// Sections 1, 2 and 9: the store.
class Store {
  index = new Map(); // "space id" -> entries, one for each copy
  damage = [];

  constructor(directory, everyFrame) {
    this.directory = directory;
    const about = JSON.parse(readFileSync(join(directory, 'datastore.json'), 'utf8'));
    const unknown = about.features.incompatible.filter((name) => name !== 'draft-1');
    check(about.format === 1 && unknown.length === 0, `format ${about.format} with features unknown here: ${unknown.join(', ')}`);
    for (const name of readdirSync(join(directory, 'packs')).filter((file) => /^[0-9a-f]{32}\.(pack|open)$/.test(file))) {
      attempt(() => this.add(new Pack(join(directory, 'packs', name), about.store), everyFrame), (error) => {
        // Without a header nothing was written to an open pack yet.
        if (name.endsWith('.pack') || error.message.includes('another store')) this.damage.push(error.message);
      });
    }
  }

  add(pack, everyFrame) {
    const note = (error) => void this.damage.push(error.message);
    const open = pack.path.endsWith('.open');
    const named = open ? undefined : attempt(() => pack.sealed(), note);
    const scanned = named === undefined || everyFrame ? pack.scan(open ? undefined : note) : undefined;
    const text = (entries) => entries.map((one) => `${[one.id, one.space, one.offset, one.length, one.kind, one.depth]}`).join();
    if (named && scanned && text(named) !== text(scanned)) this.damage.push(`${pack.path}: its footer names other records`);
    for (const entry of named ?? scanned) {
      const key = `${entry.space} ${entry.id}`;
      this.index.set(key, [...(this.index.get(key) ?? []), entry]);
    }
  }

  /** Refs and payload of an object, from the first copy that is good. */
  object(space, id, kind) {
    for (const entry of this.index.get(`${space} ${id}`) ?? []) {
      const found = attempt(() => this.copy(entry, kind), (error) => void this.damage.push(error.message));
      if (found !== undefined) return found;
    }
    throw new FormatError(`no good copy of object ${id}`);
  }

  copy({ pack, id, space, offset, length, kind, depth, unframed }, wanted) {
    const framed = unframed ? undefined : pack.frame(offset - 16, RECORD);
    const record = framed?.record ?? parseRecord(pack.read(offset, length));
    check(record.id === id && record.kind === kind && record.depth === depth, `${pack.path}: table and record of ${id} differ`);
    check(!framed || (framed.space === space && framed.body.length === length), `${pack.path}: table and frame of ${id} differ`);
    check(kind === wanted, `object ${id} is of kind ${kind}, not ${wanted}`);
    const refs = Array.from({ length: record.refs.length / 32 }, (_, n) => record.refs.toString('hex', 32 * n, 32 * n + 32));
    return { refs, payload: plainPayload(record) };
  }

  manifest(snapshot, ns) {
    const [type, group, label] = snapshot.split('/');
    const parts = ns === '' ? [] : ns.split('/').flatMap((part) => ['ns', part]);
    const directory = join(this.directory, 'snapshots', ...parts, type, group);
    const read = (time) => JSON.parse(readFileSync(join(directory, time, 'manifest.json'), 'utf8'));
    const times = readdirSync(directory).filter((time) => existsSync(join(directory, time, 'manifest.json')));
    const newest = () => times.map(read).sort((a, b) => b.server.sequence - a.server.sequence)[0];
    const found = label === 'latest' ? newest() : times.includes(label) ? read(label) : undefined;
    check(found?.format === 1, `there is no snapshot ${snapshot} of format 1`);
    const text = canonicalJson({ client: found.client, server: found.server });
    check(b3(Buffer.from(text)).toString('hex') === found.digest, 'the digest of the manifest does not hold');
    return found;
  }
}

function canonicalJson(value) {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join()}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonicalJson(value[name])}`).join()}}`;
}

// Section 4: from the root to the bytes.
/** Walks the entries of a list (`size` 8) or a page (`size` 4): yields {child, offset, length}, without a child for a hole. */
function* entries(what, { refs, payload }, size, offset, sizeBytes) {
  const end = offset + sizeBytes;
  const count = payload.readUInt32LE(4);
  check(payload[0] === 1 && payload.length === 8 + size * count, `${what} has another version or length`);
  for (let at = 8; at < payload.length; at += size) {
    const field = size === 8 ? payload.readBigUInt64LE(at) : BigInt(payload.readUInt32LE(at));
    const isHole = field >> BigInt(8 * size - 1) === 1n;
    const length = Number(BigInt.asUintN(8 * size - 1, field));
    const child = isHole ? undefined : refs.shift();
    check(length >= 1 && Number.isSafeInteger(length) && (isHole || child), `${what} has an impossible entry`);
    yield { child, offset, length };
    offset += length;
  }
  check(offset === end && refs.length === 0, `lengths or refs of ${what} do not add up`);
}

/** Yields {offset, bytes} of all that is not a hole. `height` is undefined for the root. */
function* list(store, id, offset, sizeBytes, leafKind, height) {
  const object = store.object(0, id, LIST);
  const [, childKind, ownHeight] = object.payload;
  check(ownHeight >= 1 && ownHeight === (height ?? ownHeight), `list ${id} has the wrong height`);
  check(childKind === (ownHeight === 1 ? leafKind : LIST), `list ${id} has children of the wrong kind`);
  for (const { child, ...range } of entries(`list ${id}`, object, 8, offset, sizeBytes)) {
    if (child && childKind === LIST) yield* list(store, child, range.offset, range.length, leafKind, ownHeight - 1);
    if (child && childKind === PAGE) yield* page(store, child, range.offset, range.length);
    if (child && childKind === DATA) yield data(store, child, range.offset, range.length);
  }
}

function* page(store, id, offset, sizeBytes) {
  check(sizeBytes <= PAGE_BYTES, `page ${id} is too long`);
  let afterHole = false;
  for (const { child, ...range } of entries(`page ${id}`, store.object(0, id, PAGE), 4, offset, sizeBytes)) {
    check(child || !afterHole, `page ${id} has two holes in a row`);
    if (child) yield data(store, child, range.offset, range.length);
    afterHole = !child;
  }
}

function data(store, id, offset, length) {
  const { refs, payload } = store.object(0, id, DATA);
  check(payload.length === length && refs.length === 0, `data object ${id} has another length than its entry says`);
  return { offset, bytes: payload };
}

function restore(store, { client, server }, name, output) {
  const { kind, root, sizeBytes } = client.archives.find((archive) => archive.name === name) ?? {};
  check(['image', 'stream', 'blob'].includes(kind), `the snapshot has no archive ${name} that can be read`);
  check(server.space === 0, `space ${server.space} is not plain`);
  const blob = () => [{ offset: 0, bytes: store.object(0, root, BLOB).payload }];
  const pieces = kind === 'blob' ? blob() : list(store, root, 0, sizeBytes, kind === 'image' ? PAGE : DATA);
  const fd = openSync(output, 'w');
  ftruncateSync(fd, sizeBytes);
  for (const { offset, bytes } of pieces) {
    check(kind !== 'blob' || bytes.length === sizeBytes, 'a blob has another length than its manifest says');
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, offset + done);
  }
  closeSync(fd);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { ns: { type: 'string', default: '' }, all: { type: 'boolean', default: false } },
});
const [repository, snapshot, archive, output] = positionals;
if (output === undefined) throw new Error('usage: second-reader.mjs [--ns NS] [--all] REPOSITORY SNAPSHOT ARCHIVE OUTPUT');
const store = new Store(repository, values.all);
attempt(() => restore(store, store.manifest(snapshot, values.ns), archive, output), (error) => store.damage.push(error.message));
for (const message of store.damage) console.error(`second-reader: ${message}`);
process.exitCode = store.damage.length === 0 ? 0 : 1;
