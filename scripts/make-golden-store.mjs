// Makes a golden store: a small datastore written by this version of the CLI, and what its archives restore to. Its encrypted snapshots are
// those of test/vectors/golden-key.json, which is public, and made when it is not there.
// Usage: npm run build && node scripts/make-golden-store.mjs NAME, as root, where /tmp has extended attributes and ACLs.
// It writes test/vectors/NAME.tar.zst and NAME.json, and never over what is there: no golden store is ever replaced.
// When the format gets something new, it is added here, and a new store with a new name beside the others.
import { execFileSync } from 'node:child_process';
import { createCipheriv, createHash } from 'node:crypto';
import { existsSync, linkSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compress } from 'zstd-napi';

const root = fileURLToPath(new URL('..', import.meta.url));
const [name] = process.argv.slice(2);
if (!/^golden-store-\d+$/.test(name ?? '')) throw new Error('usage: make-golden-store.mjs golden-store-N');
const vector = join(root, 'test/vectors', name);
const keyFile = join(root, 'test/vectors/golden-key.json');
if (existsSync(`${vector}.tar.zst`)) throw new Error(`${vector}.tar.zst is there; a golden store is never replaced: take a new name`);
const work = mkdtempSync(join(tmpdir(), 'holdfast-golden-'));
const store = join(work, 'store');
const tree = join(work, 'tree');
const MAX_BYTES = 400 * 1024;
const MIB = 1024 * 1024;

/** The same "random" bytes on every run. */
const noise = (length, seed) => createCipheriv('aes-128-ctr', createHash('md5').update(seed).digest(), Buffer.alloc(16)).update(Buffer.alloc(length));
const text = (length, word) => Buffer.from(Array.from({ length: Math.ceil(length / 32) }, (_, n) => `${word} line ${n}\n`.padStart(32)).join('')).subarray(0, length);
const sha256 = (content) => createHash('sha256').update(content).digest('hex');

/** An image of `length` bytes with some parts; the rest is zeros. */
function image(length, parts) {
  const bytes = Buffer.alloc(length);
  for (const [offset, content] of parts) content.copy(bytes, offset);
  return bytes;
}

const holdfast = (args, input) =>
  execFileSync(process.execPath, [join(root, 'dist/holdfast.js'), '--repository', store, '--output-format', 'json', ...args], {
    input,
    env: { ...process.env, HOLDFAST_STATE_DIR: join(work, 'state') },
  });

const archives = [];
/** Backs up {archive: Buffer, or the path of a directory} as one snapshot, which must get the label asked for. */
function backup({ ns = '', snapshot, encrypted = false, more = [] }, contents) {
  const cut = snapshot.lastIndexOf('/');
  const specs = Object.entries(contents).map(([archive, content]) => {
    const expected = { ns, snapshot, encrypted, archive };
    if (typeof content === 'string') {
      archives.push({ ...expected, entries: entriesOf(content) });
      return `${archive}:${content}`;
    }
    writeFileSync(join(work, archive), content);
    archives.push({ ...expected, sizeBytes: content.length, sha256: sha256(content) });
    return `${archive}:${join(work, archive)}`;
  });
  const place = ['--group', snapshot.slice(0, cut), '--time', snapshot.slice(cut + 1)];
  const options = [...place, ...more, ...(encrypted ? ['--keyfile', keyFile] : [])];
  const said = JSON.parse(holdfast([...(ns === '' ? [] : ['--ns', ns]), 'backup', ...options, ...specs]));
  if (said.snapshot !== snapshot) throw new Error(`the snapshot is ${said.snapshot}, not ${snapshot}`);
}

/** A stream of `content`, from standard input. */
function backupStream(snapshot, archive, content) {
  const cut = snapshot.lastIndexOf('/');
  holdfast(['backup', '--group', snapshot.slice(0, cut), '--time', snapshot.slice(cut + 1), `${archive}:-`], content);
  archives.push({ ns: '', snapshot, encrypted: false, archive, sizeBytes: content.length, sha256: sha256(content) });
}

/** Path below the tree: its bytes, one character each. */
const place = (path) => Buffer.concat([Buffer.from(`${tree}/`), Buffer.from(path, 'latin1')]);
const run = (program, ...args) => execFileSync(program, args);

/** Every type of file, every form of content. */
function makeTree() {
  for (const directory of ['', 'empty.d', 'many', 'deep/er/still', 'locked.d', 'mnt']) mkdirSync(place(directory), { recursive: true });
  writeFileSync(place('empty'), '');
  writeFileSync(place('inline'), text(300, 'inline'));
  writeFileSync(place('pieces'), noise(3000, 'pieces'));
  writeFileSync(place('deep/er/still/text'), text(400_000, 'pieces'));
  writeFileSync(place('sparse'), image(3 * MIB, [[0, text(5000, 'head')], [2 * MIB, noise(2000, 'tail')]]));
  writeFileSync(place('list'), Buffer.concat(Array.from({ length: 14 }, () => text(MIB, 'list'))));
  for (const sparse of ['sparse', 'list']) truncateSync(place(sparse), lstatSync(place(sparse)).size + MIB);
  run('fallocate', '--dig-holes', place('sparse'));
  linkSync(place('pieces'), place('deep/pieces-too'));
  linkSync(place('deep/pieces-too'), place('pieces-three'));
  symlinkSync('../inline', place('deep/link'));
  symlinkSync(Buffer.from('nowhere\xff', 'latin1'), place('dangling'));
  linkSync(place('dangling'), place('dangling-too'));
  writeFileSync(place('not \xff UTF-8\n'), 'bytes');
  run('mkfifo', place('fifo'));
  run('python3', '-c', 'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])', place('socket'));
  run('mknod', place('null'), 'c', '1', '3');
  run('mknod', place('disk'), 'b', '259', '70000');
  // A name of which the hash ends a part, in a directory of more than 128.
  const hash = (word) => Buffer.from(word).reduce((sum, byte) => Math.imul(sum ^ byte, 0x01000193), 0x811c9dc5) >>> 0;
  for (let n = 100; n < 260; n++) writeFileSync(place(`many/${n}`), `${n}`);
  for (let n = 0; ; n++) {
    if (hash(`240-${n}`) % 512 !== 0) continue;
    writeFileSync(place(`many/240-${n}`), 'the first name of a part');
    break;
  }
  run('setfattr', '-n', 'user.note', '-v', 'blue', place('inline'));
  run('setfattr', '-n', 'user.empty', place('inline'));
  run('setfattr', '-n', 'user.bytes', '-v', '0x00ff0a', place('deep'));
  run('setfattr', '-n', 'trusted.holdfast', '-v', 'root alone', place('pieces'));
  run('setcap', 'cap_net_raw+ep', place('deep/er/still/text'));
  run('setfacl', '-m', 'u:1234:rw,g:4321:r', place('pieces'));
  run('setfacl', '-m', 'd:u:1234:rwx', place('deep/er'));
  for (const [path, owner] of [['inline', '1000:1001'], ['dangling', '7:8'], ['many', '70000:4000000000']]) run('chown', '-h', owner, place(path));
  for (const [path, mode] of [['inline', '4711'], ['sparse', '0000'], ['locked.d', '2070'], ['empty.d', '1777']]) run('chmod', mode, place(path));
  run('chattr', '+d', place('empty.d'));
  run('mount', '-t', 'tmpfs', 'none', place('mnt'));
  run('find', tree, '-exec', 'touch', '-h', '-d', '@1700000000.000000001', '{}', '+');
  const times = { '': '1700000000.5', pieces: '1600000000.123456789', dangling: '1500000000.999999999', inline: '-1.25', many: '4000000000.000001' };
  for (const [path, time] of Object.entries(times)) run('touch', '-h', '-d', `@${time}`, path === '' ? tree : place(path));
}

const TYPES = { 1: 'fifo', 2: 'character device', 4: 'directory', 6: 'block device', 8: 'file', 10: 'symlink', 12: 'socket' };

/** What lstat, readlink and getfattr say of a directory and all below it, in the order of a walk; strings have a character a byte. */
function entriesOf(directory, path = '', firsts = new Map()) {
  const at = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(path, 'latin1')]);
  const stat = lstatSync(at, { bigint: true });
  const type = TYPES[Number(stat.mode) >>> 12];
  const numbers = { mode: stat.mode & 0o7777n, uid: stat.uid, gid: stat.gid, nlink: type === 'directory' ? 1n : stat.nlink, size: type === 'file' ? stat.size : 0n };
  const entry = { path, type, ...Object.fromEntries(Object.entries(numbers).map(([key, value]) => [key, Number(value)])), mtimeNs: String(stat.mtimeNs) };
  if (type.endsWith('device')) entry.device = execFileSync('stat', ['-c', '%Hr:%Lr', at], { encoding: 'utf8' }).trim();
  if (type === 'file') entry.sha256 = sha256(readFileSync(at));
  if (stat.blocks * 512n < stat.size && type === 'file') entry.hasHoles = true;
  const inode = `${stat.dev} ${stat.ino}`;
  if (firsts.has(inode)) entry.linkOf = firsts.get(inode);
  else firsts.set(inode, path);
  if (type === 'symlink') entry.target = readlinkSync(at, 'latin1');
  // Arguments of Node are text, and names are not.
  const getfattr = ['-0', 'getfattr', '-h', '-d', '-m', '-', '-e', 'base64', '--absolute-names'];
  const xattrs = execFileSync('xargs', getfattr, { input: Buffer.concat([at, Buffer.of(0)]), encoding: 'latin1' });
  const found = [...xattrs.matchAll(/^([a-z]+\.[a-z_]+)(?:=0s(.*))?$/gm)].map(([, key, value = '']) => [key, value]);
  if (found.length > 0) entry.xattrs = Object.fromEntries(found.sort());
  if (type !== 'directory') return [entry];
  const names = readdirSync(at, { encoding: 'buffer' }).map((child) => child.toString('latin1')).sort();
  return [entry, ...names.flatMap((child) => entriesOf(directory, path === '' ? child : `${path}/${child}`, firsts))];
}

try {
  holdfast(['datastore', 'create']);
  if (!existsSync(keyFile)) holdfast(['key', 'create', keyFile, '--kdf', 'none', '--hint', 'of the golden stores: public']);
  makeTree();
  // Three pages: one with data and a hole between, one of zeros, a short last one that is no multiple of 4 KiB.
  const parts = [[0, noise(20_000, 'a')], [1_000_000, text(700_000, 'disk')], [33_554_432 + 4096, text(100_000, 'tail')]];
  const disk = (more) => image(33_554_432 + 300_001, [...parts, [5_000_000, text(50_000, more)]]);
  const conf = Buffer.from('cores: 4\nmemory: 2048\n');
  for (const encrypted of [false, true]) {
    const group = encrypted ? 'vm/102' : 'vm/101';
    const more = encrypted ? ['--acknowledge-lost-key'] : [];
    const [first, second] = ['01', '02'].map((day) => `${group}/2026-01-${day}T00:00:00Z`);
    backup({ snapshot: first, encrypted, more }, { 'disk0.img': disk('more'), 'empty.img': Buffer.alloc(0), 'vm.conf': conf });
    const map = join(work, 'map.json');
    writeFileSync(map, JSON.stringify({ base: first, disks: { 'disk0.img': [{ offset: 5_000_000, length: 50_000 }] } }));
    backup({ snapshot: second, encrypted, more: [...more, '--changed-since', map] }, { 'disk0.img': disk('changed'), 'vm.conf': Buffer.alloc(0) });
    backup({ snapshot: `${encrypted ? 'ct/8' : 'ct/7'}/2026-01-01T00:00:00Z`, encrypted, more }, { 'root.tree': tree, 'ct.conf': conf });
  }
  backup({ ns: 'office/prod', snapshot: 'host/web/2026-01-01T00:00:00Z' }, { 'etc.tree': join(tree, 'deep'), 'a.log': noise(100, 'log') });
  backupStream('host/tape/2026-01-01T00:00:00Z', 'tape.img', Buffer.concat([text(3 * MIB, 'stream'), Buffer.alloc(2 * MIB), noise(10_000, 'c')]));
  holdfast(['snapshot', 'note', 'vm/101/2026-01-01T00:00:00Z', 'the first: Grüße']);
  holdfast(['snapshot', 'protect', 'vm/101/2026-01-01T00:00:00Z']);
  holdfast(['snapshot', 'lock', 'vm/102/2026-01-02T00:00:00Z', '--for', '300d']);

  const sameEverywhere = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--format=ustar'];
  const tar = execFileSync('tar', ['-C', work, ...sameEverywhere, '-cf', '-', 'store'], { maxBuffer: 64 * MIB });
  const packed = compress(tar, { compressionLevel: 19 });
  if (packed.length > MAX_BYTES) throw new Error(`the golden store has ${packed.length} bytes; keep it under ${MAX_BYTES}`);
  const trees = archives.map((archive) => JSON.stringify(archive).replaceAll(/(?<="entries":\[|\},)\{"path"/g, '\n  {"path"'));
  writeFileSync(`${vector}.tar.zst`, packed);
  writeFileSync(`${vector}.json`, `{"archives": [\n ${trees.join(',\n ')}\n]}\n`);
  const { features } = JSON.parse(readFileSync(join(store, 'datastore.json'), 'utf8'));
  console.log(`${name}.tar.zst: ${packed.length} bytes, ${archives.length} archives, features ${JSON.stringify(features)}`);
} finally {
  if (existsSync(place('mnt'))) run('umount', place('mnt'));
  rmSync(work, { recursive: true, force: true });
}
