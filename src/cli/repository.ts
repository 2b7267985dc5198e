// What every command needs to begin: where the repository is, how to print, and the worker threads of this process.
import { availableParallelism } from 'node:os';
import type { SnapshotRequest } from '../datastore/snapshots/find-snapshot.ts';
import { type Namespace, parseNamespace, parseSnapshotRef } from '../schema/names.ts';
import { isServerAddress } from '../transport/client/repository-address.ts';
import { HoldfastError } from '../util/errors.ts';
import { type PlainError, reviveError } from '../util/plain-error.ts';
import { WorkerPool } from '../util/worker-pool.ts';
import { type OutputFormat, printable } from './output.ts';
import { wholeNumber } from './whole-number.ts';

/** The user of a local datastore: whoever may write to its directory. */
export const LOCAL_OWNER = 'root@pam';

const MAX_WORKERS = 64;

export interface CommonOptions {
  /** A directory, or `https://USER@REALM!TOKEN@HOST:PORT/STORE`. */
  readonly repository?: string;
  readonly fingerprint?: string;
  /** MiB a second. */
  readonly limitUpload?: string;
  readonly limitDownload?: string;
  readonly ns?: string;
  readonly outputFormat: OutputFormat;
  readonly workers?: string;
}

/** Where the repository is, from the option or the environment. @throws `bad-argument` without either. */
export function repositoryText(options: CommonOptions): string {
  const path = options.repository ?? process.env.HOLDFAST_REPOSITORY;
  if (path === undefined || path === '') {
    throw new HoldfastError('bad-argument', 'which datastore? Give --repository DIR, or set HOLDFAST_REPOSITORY');
  }
  return path;
}

/** The datastore's directory, for commands that work on one of this machine only. @throws `bad-argument` for a server. */
export function repositoryPath(options: CommonOptions): string {
  const text = repositoryText(options);
  if (!isServerAddress(text)) return text;
  throw new HoldfastError(
    'bad-argument',
    'this command works on the directory of a datastore: run it on the server, with --repository DIR',
  );
}

export function namespaceOf(options: CommonOptions): Namespace {
  return parseNamespace(options.ns ?? '');
}

/** The snapshot that a word such as `vm/101/latest` means, in the namespace of --ns. @throws `bad-name`. */
export function snapshotRequest(text: string, options: CommonOptions): SnapshotRequest {
  const { group, time } = parseSnapshotRef(text);
  return { ns: namespaceOf(options), group, time: time ?? null };
}

/** Threads to use: --workers, else one per processor. */
export function workerCount(options: CommonOptions): number {
  if (options.workers === undefined) return Math.min(MAX_WORKERS, availableParallelism());
  return wholeNumber('--workers', options.workers, 1, MAX_WORKERS);
}

/** `onFailed` hears of connections of clients that a thread of a server failed with. */
export function startPool(
  workers: number,
  onQuarantined: (entry: number) => void,
  onFailed: (error: Error) => void = () => {},
): WorkerPool {
  return WorkerPool.start(new URL('worker.js', import.meta.url), workers, (event, argument) => {
    if (event === 'store.quarantined') onQuarantined(argument as number);
    if (event === 'bulk.failed') onFailed(reviveError(argument as PlainError));
  });
}

/** Warnings go to standard error, so that JSON on standard output stays whole. */
export function warn(message: string): void {
  process.stderr.write(`warning: ${printable(message)}\n`);
}
