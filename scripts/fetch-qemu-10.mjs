// Fetches the QEMU 10 of Debian 12's backports beside the installed one, for tests only: nothing is installed, 15 MB are downloaded.
// It runs with the libraries of the installed QEMU packages. Usage: node scripts/fetch-qemu-10.mjs [DIRECTORY], default .cache/qemu-10
// Exit status 3: it cannot be had here (no apt, not Debian 12, no mirror); tests then skip it and say so.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const RELEASE = 'bookworm';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const PACKAGES = ['qemu-system-x86', 'qemu-utils', 'qemu-system-common', 'qemu-system-data'];

const target = resolve(process.argv[2] ?? fileURLToPath(new URL('../.cache/qemu-10', import.meta.url)));
if (existsSync(join(target, 'usr/bin/qemu-system-x86_64'))) {
  console.log(`fetch-qemu-10: ${target} is there already`);
  process.exit(0);
}

function giveUp(why) {
  console.error(`fetch-qemu-10: QEMU 10 cannot be had here: ${why}`);
  process.exit(3);
}

function run(command, args, cwd) {
  const env = { ...process.env, LC_ALL: 'C' };
  const ended = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 300_000, maxBuffer: 64 << 20, env });
  const words = (ended.stderr ?? '').trim().split('\n').slice(-5).join('\n');
  return { ok: ended.status === 0, out: ended.stdout ?? '', words: ended.error?.message ?? words };
}

/** The mirror that apt has for this release; it need not be Debian's own. */
function mirror() {
  const listed = run('apt-get', ['indextargets', '--format', '$(REPO_URI) $(CODENAME)', 'Created-By: Packages']);
  if (!listed.ok) giveUp(`apt-get does not run here (${listed.words})`);
  const line = listed.out.split('\n').find((each) => each.endsWith(` ${RELEASE}`));
  if (line === undefined) giveUp(`apt has no source for Debian 12 (${RELEASE}); after a fresh start "apt-get update" may be missing`);
  return line.split(' ')[0];
}

const address = mirror();
mkdirSync(dirname(target), { recursive: true });
const work = mkdtempSync(`${target}.partial-`);
process.on('exit', () => rmSync(work, { recursive: true, force: true }));
for (const each of ['lists/partial', 'cache/archives/partial', 'debs', 'tree']) mkdirSync(join(work, each), { recursive: true });
writeFileSync(join(work, 'backports.list'), `deb [signed-by=${KEYRING}] ${address} ${RELEASE}-backports main\n`);
const settings = {
  'Dir::Etc::sourcelist': join(work, 'backports.list'),
  'Dir::Etc::sourceparts': '/dev/null',
  'Dir::State::lists': join(work, 'lists'),
  'Dir::Cache': join(work, 'cache'),
  'Acquire::Languages': 'none',
  'Acquire::Retries': '2',
  'Acquire::http::Timeout': '20',
  // The user _apt cannot write into a private directory.
  'APT::Sandbox::User': 'root',
};
const apt = (...args) => run('apt-get', [...Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]), ...args], join(work, 'debs'));

const updated = apt('-o', 'APT::Update::Error-Mode=any', 'update');
if (!updated.ok) giveUp(`the mirror ${address} does not answer for ${RELEASE}-backports:\n${updated.words}`);
const downloaded = apt('download', ...PACKAGES.map((name) => `${name}/${RELEASE}-backports`));
if (!downloaded.ok) giveUp(`the packages did not come from ${address}:\n${downloaded.words}`);
for (const deb of readdirSync(join(work, 'debs'))) {
  const unpacked = run('dpkg-deb', ['-x', join(work, 'debs', deb), join(work, 'tree')]);
  if (!unpacked.ok) giveUp(`${deb} does not unpack: ${unpacked.words}`);
}
const started = run(join(work, 'tree/usr/bin/qemu-system-x86_64'), ['--version']);
if (!started.ok) giveUp(`it does not start; apt-get install qemu-system-x86 brings the libraries:\n${started.words}`);
try {
  renameSync(join(work, 'tree'), target);
} catch (error) {
  // Another fetch was faster; what it fetched is the same.
  if (!existsSync(join(target, 'usr/bin/qemu-system-x86_64'))) throw error;
}
console.log(`fetch-qemu-10: ${started.out.split('\n')[0]} in ${target}`);
