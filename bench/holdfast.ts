// Every command line of ours that the bench runs, and the reading of its output. Nothing else in bench/ knows the CLI.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Command } from './measure.ts';

// Another build can be measured by the same bench: HOLDFAST_BENCH_PROGRAM names its holdfast.js.
export const PROGRAM = process.env.HOLDFAST_BENCH_PROGRAM ?? fileURLToPath(new URL('../holdfast.js', import.meta.url));
const GROUP = 'vm/101';
const DISK = 'disk0.img';

export interface BackupOptions {
  workers?: number;
  level?: number;
  changedSince?: string;
  group?: string;
}

/** The fields of a backup's JSON that the bench reads. */
export interface BackupReport {
  snapshot: string;
  figures: Record<string, number>;
}

export const holdfastMissing = (): string | undefined =>
  existsSync(PROGRAM) ? undefined : `${PROGRAM} does not exist; run: npm run build`;

export const createStore = (repository: string): Command => holdfast(repository, 'datastore', 'create');

export function backup(repository: string, image: string, options: BackupOptions = {}): Command {
  return holdfast(
    repository,
    'backup',
    ...['--group', options.group ?? GROUP, `${DISK}:${image}`],
    ...['--workers', String(options.workers ?? 2)],
    ...['--compression-level', String(options.level ?? 1)],
    ...(options.changedSince === undefined ? [] : ['--changed-since', options.changedSince]),
  );
}

export function restore(repository: string, target: string, workers = 2): Command {
  return holdfast(repository, 'restore', `${GROUP}/latest`, DISK, target, '--workers', String(workers));
}

/** Of a virtual machine of the node in `nodeDirectory`. */
export function backupVm(repository: string, nodeDirectory: string, vmid: number): Command {
  return holdfast(repository, 'vm', 'backup', String(vmid), '--node-dir', nodeDirectory, '--workers', '2');
}

/** Runs until every disk is whole; Ctrl-C undoes it. */
export function restoreVmLive(repository: string, nodeDirectory: string, vmid: number, newId: number): Command {
  const what = ['vm', 'restore', `vm/${vmid}/latest`, String(newId), '--live-restore', '--unique'];
  return holdfast(repository, ...what, '--node-dir', nodeDirectory, '--workers', '2');
}

/** The import of a vzdump archive, into the group that its name says. */
export const importArchive = (repository: string, archive: string): Command =>
  holdfast(repository, 'import', archive, '--workers', '2');

const TREE_GROUP = 'host/bench';
const TREE = 'root.tree';

/** A backup of a file tree; with a key file, encrypted. */
export function backupTree(repository: string, tree: string, keyfile?: string): Command {
  const encrypted = keyfile === undefined ? [] : ['--keyfile', keyfile, '--acknowledge-lost-key'];
  return holdfast(repository, 'backup', '--group', TREE_GROUP, `${TREE}:${tree}`, '--workers', '2', ...encrypted);
}

/** A restore of a file tree, or of what lies at `path` in it, into a directory. */
export function restoreTree(repository: string, target: string, path?: string): Command {
  const part = path === undefined ? [] : ['--path', path];
  return holdfast(repository, 'restore', `${TREE_GROUP}/latest`, TREE, target, '--workers', '2', ...part);
}

export const createKey = (repository: string, keyfile: string): Command =>
  holdfast(repository, 'key', 'create', keyfile, '--kdf', 'none');

export const forget = (repository: string, snapshot: string): Command =>
  holdfast(repository, 'snapshot', 'forget', snapshot);

export const collect = (repository: string, workers = 2): Command =>
  holdfast(repository, 'datastore', 'gc', '--workers', String(workers));

/** The figures of a collection's JSON. Throws when one that the bench needs is not there. */
export function readCollection(stdout: string): Record<'objectsLive' | 'packsDropped' | 'bytesFreed', number> {
  const report = JSON.parse(stdout) as Record<string, unknown>;
  const { objectsLive, packsDropped, bytesFreed } = report;
  if (typeof objectsLive !== 'number' || typeof packsDropped !== 'number' || typeof bytesFreed !== 'number')
    throw new Error(`gc reported no figures: ${stdout.slice(0, 200)}`);
  return { objectsLive, packsDropped, bytesFreed };
}

export const verify = (repository: string, options: readonly string[] = []): Command =>
  holdfast(repository, 'datastore', 'verify', '--workers', '2', ...options);

export const account = (repository: string): Command => holdfast(repository, 'datastore', 'account');

export const status = (repository: string): Command => holdfast(repository, 'datastore', 'status');

export const serveNbd = (repository: string, socket: string): Command =>
  holdfast(repository, 'serve-nbd', '--socket', socket, '--workers', '2');

/** The figures of a verification's JSON. Throws when it found damage, or does not say what it read. */
export function readVerification(stdout: string): Record<'packsRead' | 'recordsRead' | 'bytesRead', number> {
  const report = JSON.parse(stdout) as Record<string, unknown>;
  const { packsRead, recordsRead, bytesRead, damaged } = report;
  if (typeof packsRead !== 'number' || typeof recordsRead !== 'number' || typeof bytesRead !== 'number')
    throw new Error(`verify reported no figures: ${stdout.slice(0, 200)}`);
  if (!Array.isArray(damaged) || damaged.length > 0) throw new Error(`verify found damage: ${stdout.slice(0, 200)}`);
  return { packsRead, recordsRead, bytesRead };
}

/** The content of a change map file against `base`, the snapshot that a backup reported. */
export function changeMap(base: string, extents: readonly { offset: number; length: number }[]): string {
  return JSON.stringify({ base, disks: { [DISK]: extents } });
}

/** Throws when the output of a backup is not one JSON object with the documented fields. */
export function readBackup(stdout: string): BackupReport {
  const report = JSON.parse(stdout) as Record<string, unknown>;
  if (typeof report.snapshot !== 'string') throw new Error(`backup reported no snapshot: ${stdout.slice(0, 200)}`);
  for (const field of [
    'bytesLogical',
    'bytesRead',
    'bytesNew',
    'bytesStored',
    'objectsNew',
    'objectsReused',
    'durationMs',
  ]) {
    if (typeof report[field] !== 'number') throw new Error(`backup reported no ${field}: ${stdout.slice(0, 200)}`);
  }
  const numbers = Object.entries(report).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
  return { snapshot: report.snapshot, figures: Object.fromEntries(numbers) };
}

function holdfast(repository: string, ...args: string[]): Command {
  return { argv: [process.execPath, PROGRAM, '--repository', repository, '--output-format', 'json', ...args] };
}
