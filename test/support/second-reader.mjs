// A second reader of the format, written from docs/format.md alone: it imports nothing of src/, so that the document is
// what is tested. It restores one archive, checks every mac, tag, checksum and id on its way, and only reads the store.
// Usage: node test/support/second-reader.mjs [--ns NS] [--all] [--keyfile FILE] REPOSITORY vm/101/latest|vm/101/TIME ARCHIVE OUTPUT
// OUTPUT is a file, or for a tree a directory that is not there yet. --list, without OUTPUT, prints the entries of a tree, one JSON a line.
// --all also checks every frame of every sealed pack. The passphrase of a key file is in HOLDFAST_KEY_PASSPHRASE.
// Exit code 0: all is good. 1: failed, or something damaged was met.
// Here: records, packs, the store, the archives. second-reader-keys.mjs: encryption. second-reader-trees.mjs: lists, pages, directories.
import { existsSync, fstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { crc32 } from 'node:zlib';
import { decompress } from 'zstd-napi';
import { attempt, b3, canonicalJson, check, checkSignature, decryptPayload, FormatError, keyedB3, little, openKeyFile, PLAIN_ID_KEYS } from './second-reader-keys.mjs';
import { BLOB, DATA, describe, list, PAGE, walkTree, writeContent, writeTree } from './second-reader-trees.mjs';

const [RECORD, PAD, CHECKPOINT, FOOTER] = [1, 2, 3, 4];
const BLOCK = 4096;
const MAX_OBJECT_BYTES = 16 * 1024 * 1024 + 65536;

// Section 3: records.
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
  check(crypt === 0 || (crypt === 1 && rawLength === 0 && storedLength >= 32), 'an impossible encryption of a record');
  const refs = bytes.subarray(refsAt, payloadAt);
  const associated = bytes.subarray(0, payloadAt);
  const id = bytes.toString('hex', 24, 56);
  return { kind, codec, crypt, depth, rawLength, id, refs, associated, stored: bytes.subarray(payloadAt, -16) };
}

/** The plain payload of a record of space plain, or of that of a key; its id is checked. */
function plainPayload(record, key) {
  const { kind, codec, crypt, id, refs } = record;
  check(codec <= 1 && crypt === (key ? 1 : 0), () => `object ${id} has a codec or crypt that it must not have: ${codec}, ${crypt}`);
  const { packed, rawLength } = key ? decryptPayload(record, key) : { packed: record.stored, rawLength: record.rawLength };
  check(rawLength + refs.length <= MAX_OBJECT_BYTES, () => `object ${id} is too long`);
  let payload = codec === 0 ? packed : undefined;
  try {
    payload ??= decompress(packed);
  } catch {} // reported by the next line
  check(payload?.length === rawLength, () => `object ${id} does not decode to the length that its record says`);
  const idKey = (key?.idKeys ?? PLAIN_ID_KEYS)[kind];
  const right = keyedB3(idKey, little(4, refs.length / 32), refs, payload).toString('hex') === id;
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

  /** Refs and payload of an object, from the first copy that is good. `key` is that of the space; plain has none. */
  object(space, key, id, kind) {
    for (const entry of this.index.get(`${space} ${id}`) ?? []) {
      const found = attempt(() => this.copy(entry, kind, key), (error) => void this.damage.push(error.message));
      if (found !== undefined) return found;
    }
    throw new FormatError(`no good copy of object ${id}`);
  }

  copy({ pack, id, space, offset, length, kind, depth, unframed }, wanted, key) {
    const framed = unframed ? undefined : pack.frame(offset - 16, RECORD);
    const record = framed?.record ?? parseRecord(pack.read(offset, length));
    check(record.id === id && record.kind === kind && record.depth === depth, `${pack.path}: table and record of ${id} differ`);
    check(!framed || (framed.space === space && framed.body.length === length), `${pack.path}: table and frame of ${id} differ`);
    check(kind === wanted, `object ${id} is of kind ${kind}, not ${wanted}`);
    const refs = Array.from({ length: record.refs.length / 32 }, (_, n) => record.refs.toString('hex', 32 * n, 32 * n + 32));
    return { refs, payload: plainPayload(record, key) };
  }

  /** The fingerprint of a space's key. A last line that is torn was never used. */
  spaceKey(space) {
    const line = readFileSync(join(this.directory, 'spaces'), 'utf8').split('\n')[space - 1] ?? '';
    const text = line.slice(0, -9);
    const expected = `${text} ${crc32(text).toString(16).padStart(8, '0')}`;
    check(line === expected, `line ${space} of the file spaces is damaged or not there`);
    return JSON.parse(text).key;
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

/** What reads the objects of a snapshot, in its space. With a key the manifest must be signed with it. */
function objectsOf(store, snapshot, { client, server }, key) {
  const { space } = server;
  check((client.key === null) === (space === 0), `the manifest has key ${client.key} and space ${space}`);
  if (space === 0) return { object: (id, kind) => store.object(0, undefined, id, kind) };
  checkSignature({ client, server }, snapshot.slice(0, snapshot.lastIndexOf('/')), key);
  const named = store.spaceKey(space);
  check(named === client.key || /^0{64}$/.test(named), `space ${space} is that of the key ${named}`);
  return { object: (id, kind) => store.object(space, key, id, kind) };
}

function restore(objects, { client }, name, output) {
  const { kind, root, sizeBytes } = client.archives.find((archive) => archive.name === name) ?? {};
  check(['image', 'stream', 'blob', 'tree'].includes(kind), `the snapshot has no archive ${name} that can be read`);
  if (kind === 'tree' && output !== undefined) writeTree(objects, root, output);
  if (kind === 'tree' && output === undefined)
    for (const found of walkTree(objects, root)) if (!found.isEnd) console.log(describe(objects, found));
  if (kind === 'tree') return;
  check(output !== undefined, `the archive ${name} is no tree: there is nothing to list`);
  if (kind !== 'blob') return writeContent(output, sizeBytes, list(objects, root, 0, sizeBytes, kind === 'image' ? PAGE : DATA));
  const { payload } = objects.object(root, BLOB);
  check(payload.length === sizeBytes, 'a blob has another length than its manifest says');
  writeContent(output, sizeBytes, [{ offset: 0, bytes: payload }]);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { ns: { type: 'string', default: '' }, all: { type: 'boolean', default: false }, keyfile: { type: 'string' }, list: { type: 'boolean' } },
});
const [repository, snapshot, archive, output] = positionals;
if (positionals.length !== (values.list ? 3 : 4))
  throw new Error('usage: second-reader.mjs [--ns NS] [--all] [--keyfile FILE] REPOSITORY SNAPSHOT ARCHIVE OUTPUT, or with --list without OUTPUT');
const store = new Store(repository, values.all);
const run = () => {
  const key = values.keyfile === undefined ? undefined : openKeyFile(values.keyfile, process.env.HOLDFAST_KEY_PASSPHRASE);
  const manifest = store.manifest(snapshot, values.ns);
  restore(objectsOf(store, snapshot, manifest, key), manifest, archive, output);
};
attempt(run, (error) => store.damage.push(error.message));
for (const message of store.damage) console.error(`second-reader: ${message}`);
process.exitCode = store.damage.length === 0 ? 0 : 1;
