// Second reader, section 4: from the root of an archive to the bytes of a disk or stream, or to the files of a tree, which are
// written to a directory or listed. Written from docs/format.md alone, as second-reader.mjs says.
import { createHash } from 'node:crypto';
import { chmodSync, closeSync, ftruncateSync, linkSync, lutimesSync, mkdirSync, openSync, symlinkSync, utimesSync, writeSync } from 'node:fs';
import { check } from './second-reader-keys.mjs';

export const [DATA, PAGE, LIST, DIRECTORY, BLOB] = [1, 2, 3, 4, 5];
const PAGE_BYTES = 16 * 1024 * 1024;

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
export function* list(objects, id, offset, sizeBytes, leafKind, height) {
  const object = objects.object(id, LIST);
  const [, childKind, ownHeight] = object.payload;
  check(ownHeight >= 1 && ownHeight === (height ?? ownHeight), `list ${id} has the wrong height`);
  check(childKind === (ownHeight === 1 ? leafKind : LIST), `list ${id} has children of the wrong kind`);
  for (const { child, ...range } of entries(`list ${id}`, object, 8, offset, sizeBytes)) {
    if (child && childKind === LIST) yield* list(objects, child, range.offset, range.length, leafKind, ownHeight - 1);
    if (child && childKind === PAGE) yield* page(objects, child, range.offset, range.length);
    if (child && childKind === DATA) yield data(objects, child, range.offset, range.length);
  }
}

function* page(objects, id, offset, sizeBytes) {
  check(sizeBytes <= PAGE_BYTES, `page ${id} is too long`);
  let afterHole = false;
  for (const { child, ...range } of entries(`page ${id}`, objects.object(id, PAGE), 4, offset, sizeBytes)) {
    check(child || !afterHole, `page ${id} has two holes in a row`);
    if (child) yield data(objects, child, range.offset, range.length);
    afterHole = !child;
  }
}

function data(objects, id, offset, length) {
  const { refs, payload } = objects.object(id, DATA);
  check(payload.length === length && refs.length === 0, `data object ${id} has another length than its entry says`);
  return { offset, bytes: payload };
}

/** Writes a file of `sizeBytes` with its holes. */
export function writeContent(path, sizeBytes, pieces) {
  const fd = openSync(path, 'w');
  ftruncateSync(fd, sizeBytes);
  for (const { offset, bytes } of pieces) {
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, offset + done);
  }
  closeSync(fd);
}

const [NONE, INLINE, PIECES, FILE_LIST, SUBDIRECTORY, UNREADABLE] = [0, 1, 2, 3, 4, 5];
const CONTENT_NAMES = ['none', 'inline', 'pieces', 'list', 'directory', 'unreadable'];
const TYPES = { 1: 'fifo', 2: 'character device', 4: 'directory', 6: 'block device', 8: 'file', 10: 'symlink', 12: 'socket' };

/** The fields of a stat block. */
function parseStat(bytes) {
  const [mode, uid, gid, nlink] = [0, 4, 8, 12].map((at) => bytes.readUInt32LE(at));
  const [major, minor, attributes] = [56, 60, 64].map((at) => bytes.readUInt32LE(at));
  const time = (seconds, nanoseconds) => bytes.readBigInt64LE(seconds) * 1_000_000_000n + BigInt(bytes.readUInt32LE(nanoseconds));
  check(bytes.readUInt32LE(48) < 1e9 && bytes.readUInt32LE(52) < 1e9, 'a time has a second of nanoseconds');
  const size = Number(bytes.readBigUInt64LE(16));
  check(Number.isSafeInteger(size), 'an impossible size');
  const common = { type: TYPES[mode >>> 12] ?? `type ${mode >>> 12}`, mode: mode & 0o7777, uid, gid, nlink, size, major, minor, attributes };
  return { ...common, mtimeNs: time(24, 48), ctimeNs: time(32, 52), inode: bytes.readBigUInt64LE(40) };
}

function parseXattrs(bytes) {
  const attributes = [];
  for (let at = 0; at < bytes.length; ) {
    check(at + 5 <= bytes.length, 'extended attributes are cut off');
    const nameEnd = at + 5 + bytes[at];
    const end = nameEnd + bytes.readUInt32LE(at + 1);
    check(end <= bytes.length, 'extended attributes are cut off');
    const name = bytes.toString('latin1', at + 5, nameEnd);
    check(name !== '' && !name.includes('\0') && !(name <= attributes.at(-1)?.[0]), 'impossible names of extended attributes');
    attributes.push([name, bytes.subarray(nameEnd, end)]);
    at = end;
  }
  return attributes;
}

const isFileName = (name) => name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name);

/** The entries of a leaf. Names are strings of which each character is a byte. */
function parseLeaf(id, { refs, payload }, isRoot) {
  const found = [];
  const left = [...refs];
  let at = 8;
  for (let count = payload.readUInt32LE(4); count > 0; count--) {
    check(at + 80 <= payload.length, `directory ${id} is cut off`);
    const [nameLength, content, marks, errno] = payload.subarray(at, at + 4);
    const nameEnd = at + 80 + nameLength;
    const xattrEnd = nameEnd + payload.readUInt32LE(at + 4);
    const end = xattrEnd + payload.readUInt32LE(at + 8);
    check(end <= payload.length && end - xattrEnd <= 65536 && xattrEnd - nameEnd <= 4 << 20, `directory ${id} has impossible lengths`);
    const name = payload.toString('latin1', at + 80, nameEnd);
    check(isRoot ? name === '' : isFileName(name), `directory ${id} has an impossible name`);
    check(!(name <= found.at(-1)?.name), `the names of directory ${id} do not rise`);
    check(content < CONTENT_NAMES.length && (errno !== 0) === (content === UNREADABLE), `directory ${id} has an impossible content`);
    const [statBytes, bytes] = [payload.subarray(at + 12, at + 80), payload.subarray(xattrEnd, end)];
    check(content !== PIECES || (bytes.length > 0 && bytes.length % 4 === 0), `directory ${id} has impossible pieces`);
    const words = content === PIECES ? Array.from({ length: bytes.length / 4 }, (_, n) => bytes.readUInt32LE(4 * n)) : [];
    const pieces = words.map((word) => ({ length: word % 2 ** 31, isHole: word >= 2 ** 31 }));
    const refCount = content === FILE_LIST || content === SUBDIRECTORY ? 1 : pieces.filter(({ isHole }) => !isHole).length;
    check(refCount <= left.length, `directory ${id} has too few refs`);
    const entry = { name, content, marks, errno, statBytes, bytes, pieces, refs: left.splice(0, refCount) };
    found.push({ ...entry, stat: parseStat(statBytes), xattrs: parseXattrs(payload.subarray(nameEnd, xattrEnd)) });
    checkContent(found.at(-1));
    at = end;
  }
  check(at === payload.length && left.length === 0, `directory ${id} has bytes or refs behind its end`);
  return found;
}

/** Whether the content fits type and size. */
function checkContent({ name, content, bytes, pieces, stat: { type, size } }) {
  check(content === INLINE || content === PIECES || bytes.length === 0, `${name} has bytes where none belong`);
  if (content === UNREADABLE) return;
  const sum = content === PIECES ? pieces.reduce((all, { length }) => all + (length || Number.NaN), 0) : bytes.length;
  let fits = content === NONE;
  if (type === 'file') fits = content === FILE_LIST || (content !== SUBDIRECTORY && sum === size && (content === NONE) === (size === 0));
  if (type === 'directory') fits = content === SUBDIRECTORY || content === NONE;
  if (type === 'symlink') fits = content === INLINE && sum > 0;
  check(fits && (type === 'file' || size === 0), () => `${name}: its content does not fit its type or size`);
}

function formOf(id, payload) {
  check(payload.length >= 8 && payload[0] === 1 && (payload[1] === 1 || payload[1] === 2), `directory ${id} has another version or form`);
  return payload[1];
}

/** The entries of a directory, and of how many parts they come (0: it is a leaf). */
function readDirectory(objects, id) {
  const object = objects.object(id, DIRECTORY);
  if (formOf(id, object.payload) === 1) return { parts: 0, found: parseLeaf(id, object, false) };
  const { refs, payload } = object;
  const firsts = [];
  let at = 8;
  for (let count = payload.readUInt32LE(4); count > 0 && at < payload.length; count--, at += 1 + payload[at])
    firsts.push(payload.toString('latin1', at + 1, at + 1 + payload[at]));
  check(firsts.length === payload.readUInt32LE(4) && at === payload.length, `the index ${id} has another length`);
  check(firsts.length > 0 && firsts.length === refs.length, `parts and refs of the index ${id} do not match`);
  const found = refs.flatMap((part, n) => {
    const leaf = objects.object(part, DIRECTORY);
    check(formOf(part, leaf.payload) === 1, `the part ${part} of a directory is no leaf`);
    const names = parseLeaf(part, leaf, false);
    check(names[0]?.name === firsts[n] && !(names.at(-1).name >= firsts[n + 1]), `the part ${part} does not hold the names that it should`);
    return names;
  });
  return { parts: firsts.length, found };
}

/** Yields {offset, bytes} of a regular file. */
function* contentOf(objects, { content, bytes, pieces, refs, stat }) {
  if (content === INLINE) yield { offset: 0, bytes };
  if (content === FILE_LIST) yield* list(objects, refs[0], 0, stat.size, DATA);
  let [offset, next] = [0, 0];
  for (const { length, isHole } of pieces) {
    if (!isHole) yield data(objects, refs[next++], offset, length);
    offset += length;
  }
}

/** Yields each entry of a tree, a directory before what it holds and (`isEnd`) once more behind it. */
function* walk(objects, entry, path) {
  const { parts, found } = entry.content === SUBDIRECTORY ? readDirectory(objects, entry.refs[0]) : { parts: 0, found: [] };
  yield { entry, path, parts };
  for (const child of found) yield* walk(objects, child, path === '' ? child.name : `${path}/${child.name}`);
  if (entry.stat.type === 'directory') yield { entry, path, isEnd: true };
}

export function* walkTree(objects, root) {
  const object = objects.object(root, DIRECTORY);
  check(formOf(root, object.payload) === 1, 'the root of a tree is no leaf');
  const top = parseLeaf(root, object, true);
  check(top.length === 1 && top[0].content === SUBDIRECTORY, 'the root of a tree is not one directory');
  yield* walk(objects, top[0], '');
}

/** All that is known of an entry, as JSON. Each character of path, target and names of attributes is a byte. */
export function describe(objects, { entry, path, parts }) {
  const { content, marks, errno, bytes, xattrs, stat } = entry;
  const said = { path, ...stat, content: CONTENT_NAMES[content], marks, errno, xattrs: {} };
  for (const name of ['mtimeNs', 'ctimeNs', 'inode']) said[name] = String(stat[name]);
  for (const [name, value] of xattrs) said.xattrs[name] = value.toString('base64');
  if (parts > 0) said.parts = parts;
  if (stat.type === 'symlink' && content === INLINE) said.target = bytes.toString('latin1');
  if (stat.type === 'file' && content !== UNREADABLE) said.sha256 = sha256(stat.size, contentOf(objects, entry));
  return JSON.stringify(said);
}

function sha256(sizeBytes, pieces) {
  const hash = createHash('sha256');
  let at = 0;
  const zerosTo = (offset) => {
    for (; at < offset; at += Math.min(offset - at, 1 << 20)) hash.update(Buffer.alloc(Math.min(offset - at, 1 << 20)));
  };
  for (const { offset, bytes } of pieces) {
    zerosTo(offset);
    hash.update(bytes);
    at += bytes.length;
  }
  zerosTo(sizeBytes);
  return hash.digest('hex');
}

/**
 * Writes a tree to a directory that is not there yet: contents with holes, hard and symbolic links, modes, modification times (to the
 * microsecond, for Node has no finer call). What needs more than Node has (devices, FIFOs, sockets, owners, attributes) is listed only.
 */
export function writeTree(objects, root, output) {
  const links = new Map();
  for (const { entry, path, isEnd } of walkTree(objects, root)) {
    const { content, bytes, statBytes, refs, stat } = entry;
    const target = Buffer.concat([Buffer.from(output), Buffer.from(path === '' ? '' : `/${path}`, 'latin1')]);
    const key = stat.nlink > 1 && stat.type !== 'directory' ? `${statBytes.toString('hex')} ${refs[0]}` : undefined;
    const isWritten = ['directory', 'file', 'symlink'].includes(stat.type) && (content !== UNREADABLE || stat.type === 'directory');
    if (!isWritten) continue;
    if (stat.type === 'directory' && !isEnd) {
      mkdirSync(target, { mode: 0o700 });
      continue;
    }
    if (links.has(key)) {
      linkSync(links.get(key), target);
      continue;
    }
    if (stat.type === 'file') writeContent(target, stat.size, contentOf(objects, entry));
    if (stat.type === 'symlink') symlinkSync(bytes, target);
    else chmodSync(target, stat.mode);
    // Node takes a negative number for a mistake, but not a Date.
    const time = stat.mtimeNs < 0n ? new Date(Number(stat.mtimeNs / 1_000_000n)) : Number(stat.mtimeNs / 1000n) / 1e6;
    (stat.type === 'symlink' ? lutimesSync : utimesSync)(target, time, time);
    if (key !== undefined) links.set(key, target);
  }
}
