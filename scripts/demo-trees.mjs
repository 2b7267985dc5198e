// The part of the demo about file trees and encryption. `tools` are what scripts/demo.mjs shows and runs things with.
import { cpSync, existsSync, linkSync, lstatSync, mkdirSync, openSync, closeSync, readdirSync, readFileSync } from 'node:fs';
import { ftruncateSync, symlinkSync, utimesSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const MIB = 1024 * 1024;
const SECRET = 'nobody but the holder of the key reads this line\n';
/** Time stamps younger than two seconds count as uncertain. */
const CERTAIN_MS = 2200;

/** A tree backed up, found unchanged, changed behind its time stamps, compared by tar, looked into. */
export async function trees({ work, store, heading, say, check, rows, holdfast, run, mib, seconds, sources, bytes }) {
  heading('A file tree: only what changed is read, and tar is the judge');
  const tree = join(work, 'tree');
  const files = makeTree(tree, sources, bytes);
  say(`${files} files of this machine, a hard link, a symbolic link, a sparse file, and a name that is no text`);
  await new Promise((resolve) => setTimeout(resolve, CERTAIN_MS));
  await holdfast(store, ['datastore', 'create']);
  const backup = async (step) => {
    const { said, ms } = await holdfast(store, ['backup', '--group', 'host/web', `root.tree:${tree}`]);
    rows.push([step, seconds(ms), mib(said.bytesRead), mib(said.bytesNew), '', '', '']);
    say(`${said.snapshot}: ${mib(said.bytesLogical)}, read ${mib(said.bytesRead)}, new ${mib(said.bytesNew)}, in ${seconds(ms)}`);
    return said;
  };
  const first = await backup('file tree, first backup');
  const again = await backup('file tree, nothing changed');
  check(first.bytesRead > 0 && again.bytesRead === 0, 'of the unchanged tree not a byte is read');
  const sly = join(tree, 'sly');
  const { mtime, size } = lstatSync(sly);
  writeFileSync(sly, 'B'.repeat(size));
  utimesSync(sly, mtime, mtime);
  const changed = await backup('file tree, one file changed');
  check(changed.bytesRead === size, `a file with new content and its old time stamp is read: ${changed.bytesRead} bytes`);
  await compareByTar({ work, store, tree, check, rows, holdfast, run, seconds }, 'restore of the tree as tar', []);
  const { said: diff } = await holdfast(store, ['snapshot', 'diff', again.snapshot, changed.snapshot]);
  check(diff.counts?.changed === 1 || JSON.stringify(diff).includes('"sly"'), 'snapshot diff names the one file that changed');
  const target = join(work, 'tree-back');
  const { ms } = await holdfast(store, ['restore', 'host/web/latest', 'root.tree', target]);
  const same = (await run('diff', ['-r', '--no-dereference', tree, target], { quiet: true })).code === 0;
  check(same, `restore to a directory: diff -r finds no difference (${seconds(ms)})`);
  rows.push(['restore of the tree', seconds(ms), '', '', '', '', same ? 'identical' : 'DIFFERENT']);
  return tree;
}

/** The same tree under a key: what the store's side sees and does, and what is lost with the key. */
export async function encryption({ work, store, tree, heading, say, check, rows, holdfast, run, mib, seconds }) {
  heading('The same under a key that the datastore never sees');
  const key = join(work, 'key.json');
  await holdfast(store, ['key', 'create', key, '--kdf', 'none']);
  writeFileSync(join(tree, 'secret.txt'), SECRET.repeat(100));
  const args = ['backup', '--group', 'host/safe', `root.tree:${tree}`, '--keyfile', key];
  const refused = await holdfast(store, args, { quiet: true });
  check(refused.code === 17, `a key that nobody could recover is not used unless one says so (exit code ${refused.code})`);
  const { said, ms } = await holdfast(store, [...args, '--acknowledge-lost-key']);
  rows.push(['file tree, encrypted', seconds(ms), mib(said.bytesRead), mib(said.bytesNew), '', '', '']);
  say(`${said.snapshot}: new ${mib(said.bytesNew)}, in ${seconds(ms)}`);
  const packs = readdirSync(join(store, 'packs')).map((name) => join(store, 'packs', name));
  const isSeen = packs.some((path) => readFileSync(path).includes(SECRET.slice(0, 20)));
  check(!isSeen, 'what is in a file, or its name, is nowhere in the packs');
  const without = await holdfast(store, ['restore', 'host/safe/latest', 'root.tree', join(work, 'no')], { quiet: true });
  check(without.code === 14 && !existsSync(join(work, 'no')), `without the key a restore ends before anything is read (exit code ${without.code})`);
  const verified = await holdfast(store, ['datastore', 'verify']);
  const { said: gc } = await holdfast(store, ['datastore', 'gc', '--audit']);
  check(verified.said.damaged.length === 0 && gc.objectsLost === 0, 'verify and gc need no key');
  const paper = await run(process.execPath, [...holdfast.program, 'key', 'paper', key]);
  const typed = join(work, 'typed.txt');
  writeFileSync(typed, paper.stdout);
  await holdfast(store, ['key', 'recover', '--paper', typed, join(work, 'recovered.json'), '--kdf', 'none']);
  const recovered = ['--keyfile', join(work, 'recovered.json')];
  await compareByTar({ work, store, tree, check, rows, holdfast, run, seconds }, 'restore with the key from paper', recovered);
}

/** Files of this machine, and what else a tree may hold; how many. */
function makeTree(tree, sources, bytes) {
  mkdirSync(tree);
  let count = 0;
  let left = bytes;
  const copy = (from, to) => {
    mkdirSync(to, { recursive: true });
    for (const entry of readdirSync(from, { withFileTypes: true })) {
      if (left <= 0) return;
      const path = join(from, entry.name);
      if (entry.isDirectory()) copy(path, join(to, entry.name));
      if (!entry.isFile()) continue;
      try {
        cpSync(path, join(to, entry.name), { preserveTimestamps: true });
      } catch {
        continue; // not readable for this user
      }
      left -= lstatSync(path).size;
      count++;
    }
  };
  for (const source of sources) if (existsSync(source)) copy(source, join(tree, source));
  writeFileSync(join(tree, 'sly'), 'A'.repeat(10_000));
  linkSync(join(tree, 'sly'), join(tree, 'other-name'));
  symlinkSync('no/where', join(tree, 'link'));
  writeFileSync(Buffer.concat([Buffer.from(`${tree}/latin-`), Buffer.of(0xe9)]), 'a name that is no UTF-8');
  const sparse = openSync(join(tree, 'sparse'), 'w');
  writeSync(sparse, 'data behind a hole', 8 * MIB);
  ftruncateSync(sparse, 16 * MIB);
  closeSync(sparse);
  return count;
}

/** `tar --compare` holds the archive against the tree: contents, types, modes, owners, times, links. */
async function compareByTar({ work, store, tree, check, rows, holdfast, run, seconds }, step, options) {
  const group = options.length === 0 ? 'host/web' : 'host/safe';
  const file = join(work, 'tree.tar');
  const { ms } = await holdfast(store, ['restore', `${group}/latest`, 'root.tree', '--tar', file, '--overwrite', ...options]);
  const compared = await run('tar', ['-C', tree, '--compare', '--numeric-owner', '-f', file], { quiet: true });
  // GNU tar tells of the word for names that are no text, and reads them.
  const differences = `${compared.stdout}${compared.stderr}`.split('\n').filter((line) => line !== '' && !line.includes('hdrcharset'));
  const same = compared.code === 0 && differences.length === 0;
  check(same, `${step}: tar --compare finds no difference (${seconds(ms)})${differences.length > 0 ? `: ${differences[0]}` : ''}`);
  rows.push([step, seconds(ms), '', '', '', '', same ? 'identical' : 'DIFFERENT']);
}
