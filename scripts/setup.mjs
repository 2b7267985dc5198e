// Makes a fresh clone ready: npm packages from the lockfile, and the Debian packages of what is to run.
// Plain Node, no dependency, because it runs before `npm ci`. Usage: node scripts/setup.mjs [test | demo | bench | soak] [--debian-only]
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const DEBIAN_PACKAGES = {
  test:
    'qemu-system-x86 ovmf swtpm swtpm-tools genisoimage qemu-utils qemu-system-common libnbd-bin nbdkit fuse3 e2fsprogs btrfs-progs ' +
    'gcc libc6-dev time faketime attr acl libcap2-bin rsync zstd lzop systemd openssl curl',
  demo: 'e2fsprogs qemu-utils qemu-system-x86 qemu-system-common debootstrap extlinux faketime',
  bench:
    'e2fsprogs borgbackup restic casync zstd b3sum time libnbd-bin qemu-utils qemu-system-x86 qemu-system-common gcc libc6-dev ' +
    'debootstrap extlinux',
  soak: 'qemu-utils qemu-system-common libnbd-bin nbdkit fuse3 e2fsprogs gcc',
};

const root = fileURLToPath(new URL('..', import.meta.url));
const run = (command, args) =>
  spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } })
    .status === 0;

function npmPackages() {
  const marker = `${root}node_modules/.package-lock.json`;
  if (existsSync(marker) && statSync(marker).mtimeMs >= statSync(`${root}package-lock.json`).mtimeMs) return;
  console.log('setup: npm ci (compiles two native packages, one to two minutes)');
  if (!run('npm', ['ci', '--no-audit', '--no-fund'])) {
    console.error('setup: npm ci failed. It needs g++, make, python3: apt-get install -y g++ make python3');
    process.exit(1);
  }
}

function debianPackages(names) {
  const installed = (name) => spawnSync('dpkg-query', ['-W', '-f', '${db:Status-Status}', name], { encoding: 'utf8' }).stdout === 'installed';
  const missing = names.filter((name) => !installed(name));
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    console.log(`setup: not installed here: ${missing.join(' ')}. As root: apt-get install -y ${missing.join(' ')}`);
    return;
  }
  console.log(`setup: apt-get install ${missing.join(' ')}`);
  const install = () => run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing]);
  if (!install() && !(run('apt-get', ['update', '-qq']) && install())) {
    console.error(`setup: apt-get failed. Type: apt-get update && apt-get install -y ${missing.join(' ')}`);
  }
}

const [what = ''] = process.argv.slice(2).filter((word) => !word.startsWith('--'));
if (what !== '' && !(what in DEBIAN_PACKAGES)) {
  console.error(`setup: nothing is called ${what}: test, demo, bench, soak`);
  process.exit(2);
}
if (!process.argv.includes('--debian-only')) npmPackages();
debianPackages((DEBIAN_PACKAGES[what] ?? '').split(' ').filter((name) => name !== ''));
