// Runs test files under node:test, bundled. Usage: node scripts/run-tests.mjs [--fast] [path-part ...]
// --fast leaves out what starts programs, mounts or kill loops by the dozen, waits, or tries everything; path parts choose files by name.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { bundleTests, shareProcesses } from './bundle-tests.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const SLOW = [
  'test/crash/',
  'test/e2e/',
  'test/cli/',
  'test/bench/',
  'test/support/',
  'test/daemon/',
  'test/guests/cloud-init/cloud-init-files.test.ts',
  'test/guests/bitmaps/qemu-bitmaps.test.ts',
  'test/guests/network/',
  'test/guests/storage/btrfs-storage.test.ts',
  'test/guests/storage/directory-storage.test.ts',
  'test/guests/qmp/json-lines.test.ts',
  'test/guests/qmp/qmp-client.test.ts',
  'test/guests/qmp/guest-agent-real.test.ts',
  'test/guests/vm/',
  'test/jobs/',
  'test/nodes/',
  'test/notify/sender.test.ts',
  'test/notify/targets/',
  'test/packaging/systemd-units.test.ts',
  'test/state/',
  'test/schema/auth-id.test.ts',
  'test/transport/',
  'test/api/fuzz.test.ts',
  'test/api/matrix.test.ts',
  'test/api/guest/backup-jobs.test.ts',
  'test/api/guest/rights.test.ts',
  'test/api/running-downloads.test.ts',
  'test/api/download-routes.test.ts',
  'test/api/recorded.test.ts',
  'test/auth/passwords.test.ts',
  'test/auth/sign-in.test.ts',
  'test/agent/qemu/backup-',
  'test/agent/qemu/fleece.test.ts',
  'test/agent/qemu/frozen-',
  'test/agent/qemu/restore-',
  'test/agent/serve/',
  'test/agent/tree/file-calls.test.ts',
  'test/chunker/cut-disk.test.ts',
  'test/agent/nbd/',
  'test/agent/sources/',
  'test/agent/backup/page-cutter.test.ts',
  'test/agent/backup/run-backup.test.ts',
  'test/agent/backup/stream-cutter.test.ts',
  'test/agent/keys/key-file.test.ts',
  'test/agent/keys/recovery-key.test.ts',
  'test/agent/tree/select/exclude-oracle.test.ts',
  'test/agent/tree/restore/restore-tree.test.ts',
  'test/agent/tree/restore/restore-hostile.test.ts',
  'test/agent/vma/',
  'test/agent/tar/fuzz-tar.test.ts',
  'test/agent/tar/open-tar.test.ts',
  'test/agent/tree/read-tree.test.ts',
  'test/agent/tree/browse/walk-tree.test.ts',
  'test/chunker/cut-module.test.ts',
  'test/chunker/cut-stream.test.ts',
  'test/chunker/list.test.ts',
  'test/chunker/cut-vectors.test.ts',
  'test/datastore/accounting/account.test.ts',
  'test/datastore/config.test.ts',
  'test/datastore/encrypted/without-key.test.ts',
  'test/datastore/index/snapshot.test.ts',
  'test/datastore/control/control.test.ts',
  'test/datastore/repair/repair.test.ts',
  'test/datastore/prune/simulate.test.ts',
  'test/datastore/sessions/rules.test.ts',
  'test/datastore/sessions/scope-',
  'test/datastore/limits/held-limits.test.ts',
  'test/datastore/encrypted/sessions.test.ts',
  'test/datastore/gc/collect-garbage.test.ts',
  'test/datastore/snapshots/group-store.test.ts',
  'test/datastore/snapshots/retention-lock.test.ts',
  'test/datastore/verify/bit-flips.test.ts',
  'test/datastore/verify/proofs.test.ts',
  'test/datastore/verify/tree-damage.test.ts',
  'test/datastore/verify/verify-store.test.ts',
];
/** The only file of its folder, and slow: of it the fast run takes the tests whose names match. */
const SAMPLED = {
  'test/agent/tree/backup/backup-tree.test.ts':
    'each kind of file|holes stay holes|a hole beyond|deeper than any path|what cannot be read|exclude files|no directory|aborted',
};
const isSlow = (name) => name in SAMPLED || SLOW.some((folder) => name.startsWith(folder));
const fast = process.argv.includes('--fast');
const parts = process.argv.slice(2).filter((argument) => argument !== '--fast');
const files = readdirSync('test', { recursive: true })
  .map((name) => `test/${name}`)
  .filter((name) => name.endsWith('.test.ts'))
  .filter((name) => !fast || !isSlow(name) || name in SAMPLED)
  .filter((name) => parts.length === 0 || parts.some((part) => name.includes(part)))
  .sort();
if (files.length === 0) {
  console.error(`run-tests: no test file matches ${parts.join(' ')}`);
  process.exit(1);
}
const bundles = await bundleTests(files);
const bundleOf = (name) => bundles[files.indexOf(name)];
const sampled = fast ? files.filter((name) => name in SAMPLED) : [];
const slow = fast ? [] : files.filter(isSlow);
const quick = files.filter((name) => !isSlow(name));
// Whoever names files wants to know of each what it does alone.
const shares = parts.length === 0 ? shareProcesses(quick, quick.map(bundleOf)) : quick.map(bundleOf);
const whole = [...shares, ...slow.map(bundleOf)];
const results = [
  ...(whole.length === 0 ? [] : [run(whole)]),
  ...sampled.map((name) => run([`--test-name-pattern=${SAMPLED[name]}`, bundleOf(name)])),
];
process.exit(results.find((status) => status !== 0) ?? 0);

/** One file more than there are cores, for files wait for programs, disks and connections. */
function run(more) {
  const concurrency = availableParallelism() + 1;
  const options = ['--enable-source-maps', '--test', '--test-reporter=spec', `--test-concurrency=${concurrency}`, ...more];
  // More certificates, which no test needs, make each of some thousand starts of Node 40 ms longer where they are asked for.
  const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
  return spawnSync(process.execPath, options, { stdio: ['ignore', 'inherit', 'inherit'], env }).status ?? 1;
}
