// Makes a fresh clone ready: npm packages from the lockfile, and the Debian packages the caller asks for.
// Plain Node, no dependency, because it runs before `npm ci`. Usage: node scripts/setup.mjs [debian-package ...]
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

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

npmPackages();
debianPackages(process.argv.slice(2));
