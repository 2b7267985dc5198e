// `npm run demo`: the data path and the keeping of a store on a real file system image, checked with tools that are not ours. Plain Node.
// Works in a temporary directory (TMPDIR) that it removes, also after a failure or Ctrl-C. `--small`: 64 MiB instead of 1 GiB, no virtual machine and
// no night; `--vm`: the virtual machine and the night alone; `--night`: the night alone, with a small guest.
// Exit code 0 when every check held, 1 when one did not, 130 after Ctrl-C.
import { spawn } from 'node:child_process';
import { constants, copyFileSync, existsSync, lstatSync, mkdirSync, mkdtempSync, openSync, closeSync, readdirSync, readFileSync } from 'node:fs';
import { readSync, rmSync, statfsSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { night } from './demo-night.mjs';
import { server } from './demo-server.mjs';
import { encryption, trees } from './demo-trees.mjs';
import { endGuests, virtualMachine } from './demo-vm.mjs';

const MIB = 1024 * 1024;
const small = process.argv.includes('--small');
const vmAlone = process.argv.includes('--vm');
const nightAlone = process.argv.includes('--night');
const SIZES = small
  ? { image: 64 * MIB, files: 36 * MIB, tree: 12 * MIB, space: 256 * MIB, killLevel: '12' }
  : { image: 1024 * MIB, files: 500 * MIB, tree: 200 * MIB, space: 3072 * MIB, killLevel: '1' };
/** Share of the files' bytes that each new version of the image changes: files written anew, and as much in new files. */
const CHANGED = 0.025;
const EXTENT = 64 * 1024;
/** Tiny files only make mke2fs slow. */
const SMALLEST_FILE = 12 * 1024;
const SOURCES = ['/usr/lib', '/usr/share', '/usr/bin', '/usr/include', '/usr/src', '/opt'];

const root = fileURLToPath(new URL('..', import.meta.url));
const holdfastJs = join(root, 'dist/holdfast.js');
const secondReader = join(root, 'test/support/second-reader.mjs');
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`;

// What is shown.
const bold = (text) => (process.stdout.isTTY ? `\x1b[1m${text}\x1b[0m` : text);
const say = (text = '') => console.log(text === '' ? '' : `  ${text}`);
let headings = 0;
const heading = (text) => console.log(`\n${bold(`${++headings}. ${text}`)}`);
const mib = (bytes) => (bytes === undefined ? '' : `${(bytes / MIB).toFixed(1)} MiB`);
const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;
const rows = [];
const failures = [];
const check = (holds, what) => {
  say(`${holds ? 'ok    ' : 'FAILED'}  ${what}`);
  if (!holds) failures.push(what);
  return holds;
};

// What runs.
const children = new Set();
/** Whoever runs the demo may have a datastore and keys of their own. */
const environment = { PATH, HOLDFAST_REPOSITORY: '', HOLDFAST_KEYFILE: '', HOLDFAST_FINGERPRINT: '', HOLDFAST_TOKEN_SECRET: '' };

/** Runs a program to its end: its output, exit code and time. `onStart` gets the child. */
function run(command, args, { onStart, quiet = false, stdin = 'ignore' } = {}) {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: [stdin, 'pipe', 'pipe'], env: { ...process.env, ...environment } });
    children.add(child);
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) child[name].on('data', (bytes) => (output[name] += bytes));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      children.delete(child);
      const result = { ...output, code, signal, ms: performance.now() - started };
      if (code === 0 || quiet) resolve(result);
      else reject(new Error(`${basename(command)} ${args.join(' ')}: exit ${code ?? signal}\n${output.stderr || output.stdout}`));
    });
    onStart?.(child);
  });
}

/** Starts a program of ours that runs until it is stopped, and writes JSON lines to standard error. */
function start(args) {
  const child = spawn(process.execPath, [holdfastJs, ...args], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...environment } });
  children.add(child);
  const closed = new Promise((resolve) => child.on('close', resolve)).finally(() => children.delete(child));
  let said = '';
  child.stderr.on('data', (bytes) => (said += bytes));
  const until = async (what, timeoutMs, look) => {
    for (const deadline = Date.now() + timeoutMs; Date.now() < deadline; await new Promise((resolve) => setTimeout(resolve, 20))) {
      const found = look();
      if (found !== undefined) return found;
      if (child.exitCode !== null) break;
    }
    throw new Error(`holdfast ${args[0]} did not come to ${what}:\n${said}`);
  };
  return {
    /** The line of the log with this message. */
    says: (message, timeoutMs) =>
      until(JSON.stringify(message), timeoutMs, () => said.split('\n').slice(0, -1).filter((text) => text.startsWith('{')).map((text) => JSON.parse(text)).find(({ msg }) => msg === message)),
    file: (path, timeoutMs) => until(path, timeoutMs, () => (existsSync(path) ? readFileSync(path, 'utf8') : undefined)),
    stop: async () => {
      child.kill('SIGTERM');
      await closed;
    },
  };
}

/** Runs a command of ours on a store and reads what it says as JSON. */
async function holdfast(store, args, options) {
  const all = [holdfastJs, '--repository', store, '--output-format', 'json', ...args];
  const result = await run(process.execPath, all, options);
  return { ...result, said: result.code === 0 && result.stdout !== '' ? JSON.parse(result.stdout) : undefined };
}

holdfast.program = [holdfastJs];

/** Bytes that a directory takes on disk, as `du` counts. */
function diskUsage(path) {
  return readdirSync(path, { recursive: true }).reduce((sum, name) => {
    // A killed or running backup renames files under our eyes.
    const stat = lstatSync(join(path, name), { throwIfNoEntry: false });
    return sum + (stat === undefined ? 0 : stat.blocks * 512);
  }, 0);
}

// The image.

/** Copies real files of this machine into `target` until there are enough bytes; answers with their names and sizes. */
function collectFiles(target) {
  const files = [];
  let bytes = 0;
  const visit = (directory) => {
    const entries = readdirSync(directory, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      if (bytes >= SIZES.files) return;
      const path = join(directory, entry.name);
      if (entry.isDirectory()) visit(path);
      if (!entry.isFile()) continue;
      const { size } = lstatSync(path);
      if (size < SMALLEST_FILE || size > SIZES.files / 32 || bytes + size > SIZES.files * 1.05) continue;
      // Every 1,000 files a directory, flat names: all that debugfs has to know of them is "d3/1234".
      const name = `d${Math.floor(files.length / 1000)}/${files.length}`;
      mkdirSync(join(target, `d${Math.floor(files.length / 1000)}`), { recursive: true });
      try {
        copyFileSync(path, join(target, name), constants.COPYFILE_FICLONE);
      } catch {
        continue; // not readable for this user
      }
      files.push({ name, size });
      bytes += size;
    }
  };
  for (const source of [...SOURCES, join(root, 'node_modules')]) if (existsSync(source)) visit(source);
  return { files, bytes };
}

/** Makes the next version of an image with debugfs: some files written anew with edits, some new files. */
async function changeImage(from, to, { files, bytes }, round, work) {
  await run('cp', ['--sparse=always', '--reflink=auto', from, to]);
  const budget = (bytes * CHANGED) / 2;
  const commands = [];
  let rewritten = 0;
  // Spread over the whole disk, other files each round; whole files are read back out of the old image.
  const step = 97;
  const edited = join(work, 'edited');
  mkdirSync(edited);
  for (let n = round * 31; rewritten < budget && n < files.length * step; n += step) {
    const { name, size } = files[n % files.length];
    if (size > budget / 4) continue;
    const local = join(edited, String(n));
    commands.push([`dump /${name} ${local}`, `rm /${name}`, `write ${local} ${name}`]);
    rewritten += size;
  }
  await debugfs(['-f'], commands.map(([dump]) => dump), from, work);
  for (const name of readdirSync(edited)) {
    const content = readFileSync(join(edited, name));
    const middle = Math.floor(content.length / 2);
    writeFileSync(join(edited, name), Buffer.concat([content.subarray(0, middle), Buffer.from(`edited ${round}\n`), content.subarray(middle)]));
  }
  const fresh = join(work, 'fresh.bin');
  writeFileSync(fresh, Buffer.from(Array.from({ length: Math.floor(budget / 24) }, (_, n) => `line ${n} of round ${round}\n`.padEnd(24)).join('')));
  const script = [...commands.flatMap(([, rm, write]) => [rm, `cd /${write.split(' ')[2].split('/')[0]}`, `write ${write.split(' ')[1]} ${write.split('/').at(-1)}`, 'cd /'])];
  await debugfs(['-w', '-f'], [...script, `mkdir /new${round}`, `cd /new${round}`, `write ${fresh} fresh.bin`], to, work);
  rmSync(edited, { recursive: true });
  rmSync(fresh);
}

async function debugfs(flags, commands, image, work) {
  const script = join(work, 'debugfs.script');
  writeFileSync(script, `${commands.join('\n')}\n`);
  await run('debugfs', [...flags, script, image]);
}

/** Compares two images byte for byte, without anything of ours: the change map, and the share of 4 KiB blocks that differ. */
function compareImages(before, after, base) {
  const [a, b] = [before, after].map((path) => openSync(path, 'r'));
  const [left, right] = [Buffer.alloc(MIB), Buffer.alloc(MIB)];
  const extents = [];
  let blocks = 0;
  for (let at = 0; at < SIZES.image; at += MIB) {
    readSync(a, left, 0, MIB, at);
    readSync(b, right, 0, MIB, at);
    if (left.equals(right)) continue;
    for (let extent = 0; extent < MIB; extent += EXTENT) {
      const differs = (from, length) => left.compare(right, from, from + length, from, from + length) !== 0;
      if (!differs(extent, EXTENT)) continue;
      extents.push({ offset: at + extent, length: EXTENT });
      for (let block = extent; block < extent + EXTENT; block += 4096) blocks += Number(differs(block, 4096));
    }
  }
  closeSync(a);
  closeSync(b);
  return { blocks, extents, map: { base, disks: { 'disk0.img': extents } } };
}

// The steps.

const history = new Map(); // store -> { logical, used }

/** Backs up and adds a row: what was read, what was new, by how much the store grew, logical bytes per byte on disk. */
async function backup(store, step, image, extra = []) {
  const before = history.get(store) ?? { logical: 0, used: diskUsage(store) };
  const { said, ms } = await holdfast(store, ['backup', '--group', 'vm/101', `disk0.img:${image}`, ...extra]);
  const used = diskUsage(store);
  const logical = before.logical + said.bytesLogical;
  history.set(store, { logical, used });
  const read = said.bytesRead + (said.bytesSampled ?? 0);
  rows.push([step, seconds(ms), mib(read), mib(said.bytesNew), mib(used - before.used), `${(logical / used).toFixed(1)} : 1`, '']);
  say(`${said.snapshot}: ${mib(said.bytesLogical)} of disk, read ${mib(read)}, new ${mib(said.bytesNew)}, in ${seconds(ms)}`);
  return { ...said, read };
}

async function restoreAndCompare(step, image, target, restore) {
  const { ms } = await restore(target);
  const same = (await run('cmp', [image, target], { quiet: true })).code === 0;
  const holes = lstatSync(target).blocks * 512;
  check(same, `${step}: cmp finds no difference (${seconds(ms)}; ${mib(holes)} on disk, the rest holes)`);
  rows.push([step, seconds(ms), '', '', '', '', same ? 'identical' : 'DIFFERENT']);
  rmSync(target);
}

/** Starts a backup and kills it with SIGKILL when the store holds `stopAt` bytes. False: it was too fast. */
async function killedBackup(store, image, stopAt) {
  let timer;
  const result = await holdfast(store, ['backup', '--group', 'vm/101', '--compression-level', SIZES.killLevel, `disk0.img:${image}`], {
    quiet: true,
    onStart: (child) => {
      timer = setInterval(() => {
        if (diskUsage(join(store, 'packs')) >= stopAt) child.kill('SIGKILL');
      }, 5);
    },
  });
  clearInterval(timer);
  return result;
}

async function demo(work) {
  const [v1, v2, v3] = ['v1.img', 'v2.img', 'v3.img'].map((name) => join(work, name));
  const [store, store2, target] = ['store', 'store2', 'restored.img'].map((name) => join(work, name));

  heading(`A disk image of ${mib(SIZES.image)}: ext4 with real files of this machine`);
  const staging = join(work, 'files');
  mkdirSync(staging);
  const content = collectFiles(staging);
  await run('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', staging, v1, `${SIZES.image / 1024}k`]);
  rmSync(staging, { recursive: true });
  say(`${content.files.length} files, ${mib(content.bytes)}; the rest of the disk is free space`);

  heading('First backup, of everything');
  await holdfast(store, ['datastore', 'create']);
  const first = await backup(store, 'backup of version 1, full', v1);

  heading('The disk changes, the second backup reads all of it and keeps what is new');
  await changeImage(v1, v2, content, 1, work);
  const share = ({ blocks }) => `${((100 * blocks * 4096) / content.bytes).toFixed(1)} % of the blocks in use`;
  const change2 = compareImages(v1, v2, first.snapshot);
  say(`files edited and added with debugfs: ${change2.blocks} blocks of 4 KiB differ, ${share(change2)}`);
  const second = await backup(store, 'backup of version 2, no change map', v2);
  check(second.bytesNew < first.bytesNew / 5, `new is ${((100 * second.bytesNew) / first.bytesNew).toFixed(1)} % of the first backup`);

  heading('The disk changes again, the third backup gets a change map and reads only that');
  await changeImage(v2, v3, content, 2, work);
  const change3 = compareImages(v2, v3, second.snapshot);
  const mapFile = join(work, 'changes.json');
  writeFileSync(mapFile, JSON.stringify(change3.map));
  say(`${change3.blocks} blocks differ, ${share(change3)}; the map, made by comparing both images: ${change3.extents.length} extents of 64 KiB`);
  const third = await backup(store, 'backup of version 3, with change map', v3, ['--changed-since', mapFile]);
  check(third.read < second.read / 2, `read ${mib(third.read)} instead of ${mib(second.read)}`);

  heading('Every snapshot comes back byte for byte; cmp is the judge');
  const versions = [[v1, first], [v2, second], [v3, third]];
  for (const [n, [image, { snapshot }]] of versions.entries()) {
    await restoreAndCompare(`restore of version ${n + 1}`, image, target, (to) => holdfast(store, ['restore', snapshot, 'disk0.img', to]));
  }
  say('and by the second reader, 600 lines that know only docs/format.md:');
  const read = (to) => run(process.execPath, [secondReader, store, 'vm/101/latest', 'disk0.img', to]);
  await restoreAndCompare('version 3, second reader', v3, target, read);
  const fsck = await run('e2fsck', ['-fn', v3], { quiet: true });
  check(fsck.code === 0, 'e2fsck: the changed image is a sound file system');

  heading('A backup into an empty datastore is killed half-way (SIGKILL), then started again');
  let killed;
  for (let stopAt = diskUsage(join(store, 'packs')) * 0.4; killed?.signal !== 'SIGKILL' && stopAt > MIB; stopAt /= 2) {
    rmSync(store2, { recursive: true, force: true });
    await holdfast(store2, ['datastore', 'create']);
    killed = await killedBackup(store2, v3, stopAt);
  }
  const left = diskUsage(store2);
  check(killed.signal === 'SIGKILL', `killed after ${seconds(killed.ms)}, ${mib(left)} were on disk`);
  rows.push(['backup of version 3, killed', seconds(killed.ms), '', '', mib(left), '', '']);
  const { said: none } = await holdfast(store2, ['snapshot', 'list']);
  check(none.length === 0, 'no half snapshot is to be seen');
  const retry = await backup(store2, 'the same again', v3, ['--compression-level', SIZES.killLevel]);
  const kept = retry.objectsAdopted ?? 0;
  check(kept > 0 && retry.objectsReused > 0, `it went on where the killed one stopped: ${kept} objects of it taken over, ${retry.objectsNew} new`);
  check(retry.bytesNew < 0.9 * first.bytesNew, `new ${mib(retry.bytesNew)}; without what was left it would have been some ${mib(first.bytesNew)}`);
  await restoreAndCompare('restore after the kill', v3, target, (to) => holdfast(store2, ['restore', retry.snapshot, 'disk0.img', to]));
  rmSync(store2, { recursive: true });

  heading('The store is kept while a backup of another machine holds it: prune, garbage collection, verify');
  await besideBackup(store, v2, async () => {
    const { said } = await holdfast(store, ['prune', '--group', 'vm/101', '--keep-last', '2']);
    const gone = said.filter(({ keep }) => !keep).map(({ snapshot }) => snapshot);
    check(gone.length === 1 && gone[0] === first.snapshot, `prune --keep-last 2 removed ${gone.join(' ')}`);
  });
  const other = await besideBackup(store, v3, async () => {
    const { said: gc, ms } = await holdfast(store, ['datastore', 'gc', '--audit']);
    check(gc.bytesFreed > 0 && gc.objectsLost === 0, `gc freed ${mib(gc.bytesFreed)}, and its audit misses nothing`);
    rows.push(['garbage collection beside a backup', seconds(ms), '', '', `-${mib(gc.bytesFreed)}`, '', '']);
    const verified = await holdfast(store, ['datastore', 'verify']);
    check(verified.said.damaged.length === 0, `verify read ${mib(verified.said.bytesRead)}: nothing is damaged`);
    rows.push(['verify beside a backup', seconds(verified.ms), mib(verified.said.bytesRead), '', '', '', '']);
  });
  await restoreAndCompare('restore of the backup beside', v3, target, (to) => holdfast(store, ['restore', other.snapshot, 'disk0.img', to]));

  heading('One byte of the store is flipped: found, named, and healed by the next backup');
  const { said: others } = await holdfast(store, ['snapshot', 'list', 'host/other']);
  for (const { snapshot } of others) await holdfast(store, ['snapshot', 'forget', snapshot]);
  await holdfast(store, ['datastore', 'gc']);
  let hurt = { damaged: [] };
  // A little garbage stays in packs; a byte of that hurts nobody.
  for (let n = 0; n < 5 && hurt.damaged.length === 0; n++) {
    flipOneByte(store, 0.5 + n * 0.07);
    hurt = await verifyAll(store);
  }
  const names = new Set(hurt.damaged.map(({ snapshot }) => snapshot));
  for (const { snapshot, archive, ranges } of hurt.damaged) for (const { offset, length } of ranges) say(`${snapshot} ${archive}: ${length} bytes at ${offset}`);
  check(hurt.code === 27 && names.size > 0, `verify names ${names.size} snapshots and ends with exit code ${hurt.code}`);
  // Whichever snapshot is concerned: the machine whose disk it is still has the bytes.
  const isOfSecond = names.has(second.snapshot) && !names.has(third.snapshot);
  await backup(store, 'backup that heals', isOfSecond ? v2 : v3);
  const healed = await verifyAll(store);
  check(healed.damaged.length === 0, 'verify again: every snapshot is whole, the old ones too');

  heading('A disk over NBD: qemu-img reads it from our server');
  await restoreAndCompare('qemu-img convert from serve-nbd', v3, target, (to) => throughNbd(store, third.snapshot, to, work));
  for (const path of [v2, v3]) rmSync(path);

  const tools = { work, store: join(work, 'store-of-trees'), heading, say, check, rows, holdfast, run, mib, seconds };
  const tree = await trees({ ...tools, sources: SOURCES, bytes: SIZES.tree });
  await encryption({ ...tools, tree });
  await server({ ...tools, image: v1, start, environment });
  rmSync(v1);
  if (small) say('a virtual machine is not part of --small: npm run demo, or node scripts/demo.mjs --vm');
  else await vmDemo(work);
}

/** The night is that of the Debian guest, while it runs. */
async function vmDemo(work) {
  const tools = { work, store: join(work, 'store-of-machines'), heading, say, check, rows, holdfast, run, environment, mib, seconds };
  const hasGuest = await virtualMachine(tools, (guest) => night({ ...tools, start }, guest));
  if (!hasGuest) await nightDemo(work);
}

async function nightDemo(work) {
  await night({ work, heading, say, check, rows, holdfast, run, start, environment, mib, seconds });
}

/** Runs `work` while a backup from standard input, half of which has been sent, holds the store; returns what the backup says. */
async function besideBackup(store, image, work) {
  let feed;
  const backedUp = holdfast(store, ['backup', '--group', 'host/other', 'disk0.img:-'], {
    onStart: (child) => (feed = child.stdin),
    stdin: 'pipe',
  });
  const content = readFileSync(image);
  feed.write(content.subarray(0, content.length / 2));
  while (readdirSync(join(store, 'sessions')).length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  await work();
  feed.end(content.subarray(content.length / 2));
  const { said } = await backedUp;
  say(`${said.snapshot}: the backup ended as if it had been alone`);
  return said;
}

/** In the largest pack, at this share of it. */
function flipOneByte(store, share) {
  const packs = readdirSync(join(store, 'packs')).map((name) => join(store, 'packs', name));
  const [path] = packs.sort((a, b) => lstatSync(b).size - lstatSync(a).size);
  const fd = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  const at = Math.floor(lstatSync(path).size * share);
  readSync(fd, byte, 0, 1, at);
  byte[0] ^= 0x10;
  writeSync(fd, byte, 0, 1, at);
  closeSync(fd);
  say(`bit 4 of byte ${at} of packs/${basename(path)}`);
}

async function verifyAll(store) {
  const { code, stdout } = await holdfast(store, ['datastore', 'verify'], { quiet: true });
  return { code, ...JSON.parse(stdout) };
}

/** Starts the server, converts with qemu-img, and stops the server. */
async function throughNbd(store, snapshot, target, work) {
  const socket = join(work, 'nbd.sock');
  let server;
  const served = run(process.execPath, [holdfastJs, '--repository', store, 'serve-nbd', '--socket', socket], { onStart: (child) => (server = child), quiet: true });
  while (!existsSync(socket)) await new Promise((resolve) => setTimeout(resolve, 20));
  try {
    return await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', `nbd:unix:${socket}:exportname=${snapshot}/disk0.img`, target]);
  } finally {
    server.kill('SIGTERM');
    await served;
  }
}

function printTable() {
  const head = ['step', 'time', 'read', 'new', 'stored on disk', 'dedup ratio', 'cmp'];
  const widths = head.map((title, n) => Math.max(title.length, ...rows.map((row) => row[n].length)));
  const line = (cells) => cells.map((cell, n) => (n === 0 || n === 6 ? cell.padEnd(widths[n]) : cell.padStart(widths[n]))).join('  ').trimEnd();
  console.log(`\n${bold(line(head))}`);
  console.log(widths.map((width) => '-'.repeat(width)).join('  '));
  for (const row of rows) console.log(line(row));
  console.log('\nread: bytes taken from the disk, samples included. new: bytes that no snapshot had. stored on disk: growth of the');
  console.log('datastore, as du counts. dedup ratio: bytes of all snapshots so far against the size of the datastore.');
}

async function missing() {
  const lacks = [];
  if (!existsSync(holdfastJs)) lacks.push('dist/holdfast.js is not built: npm run build');
  for (const [tool, args, from] of [['mke2fs', ['-V'], 'e2fsprogs'], ['debugfs', ['-V'], 'e2fsprogs'], ['cmp', ['--version'], 'diffutils'], ['qemu-img', ['--version'], 'qemu-utils']]) {
    const found = await run(tool, args, { quiet: true }).catch(() => undefined);
    if (found === undefined) lacks.push(`${tool} is missing: apt-get install -y ${from}`);
  }
  const { bavail, bsize } = statfsSync(tmpdir());
  const free = bavail * bsize;
  if (free < SIZES.space) lacks.push(`${tmpdir()} has ${mib(free)} free, ${mib(SIZES.space)} are needed; set TMPDIR to another place`);
  return lacks;
}

const started = performance.now();
const lacks = await missing();
if (lacks.length > 0) {
  for (const lack of lacks) console.error(`demo: ${lack}`);
  process.exit(1);
}
const work = mkdtempSync(join(tmpdir(), 'holdfast-demo-'));
environment.HOLDFAST_STATE_DIR = join(work, 'state');
environment.HOLDFAST_REMOTES = join(work, 'remotes.json');
/** Ends what still runs, waits for it, so that nothing is written any more, and removes the directory. */
let leaving;
function leave(code) {
  leaving ??= (async () => {
    const running = [...children];
    for (const child of running) child.kill('SIGKILL');
    await Promise.all(running.map((child) => (child.exitCode ?? child.signalCode) === null && new Promise((resolve) => child.on('exit', resolve))));
    endGuests(work);
    rmSync(work, { recursive: true, force: true, maxRetries: 3 });
    process.exit(code);
  })();
  return leaving;
}
for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]]) {
  process.on(signal, () => {
    console.error(`\ndemo: stopped; ${work} is removed`);
    leave(code);
  });
}
// The reader of our output went away, as `head` does.
process.stdout.on('error', () => leave(1));
console.log(bold('Holdfast: back up, change, back up again, restore, compare, kill, continue, clean, damage, heal, serve, file trees, encrypt, server, virtual machine, a night'));
say(`in ${work} (removed at the end)`);
try {
  await (nightAlone ? nightDemo(work) : vmAlone ? vmDemo(work) : demo(work));
} catch (error) {
  failures.push(error.message);
}
// A stop that has begun kills the program that was running: that is no failed check.
await leaving;
if (rows.length > 0) printTable();
for (const failure of failures) console.error(`\ndemo: FAILED: ${failure}`);
console.log(`\n${failures.length === 0 ? 'Every check held.' : `${failures.length} checks failed.`} ${seconds(performance.now() - started)} in all.`);
await leave(failures.length === 0 ? 0 : 1);
