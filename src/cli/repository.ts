// What every command needs to begin: where the repository is, how to print, and the worker threads of this process.
import { availableParallelism } from 'node:os';
import type { SnapshotRequest } from '../datastore/snapshots/find-snapshot.ts';
import { type Namespace, parseNamespace, parseSnapshotRef } from '../schema/names.ts';
import { HoldfastError } from '../util/errors.ts';
import { WorkerPool } from '../util/worker-pool.ts';
import { type OutputFormat, printable } from './output.ts';

/** The user of a local datastore: whoever may write to its directory. */
export const LOCAL_OWNER = 'root@pam';

const MAX_WORKERS = 64;

export interface CommonOptions {
  readonly repository?: string;
  readonly ns?: string;
  readonly outputFormat: OutputFormat;
  readonly workers?: string;
}

/** The datastore's directory from the option or the environment. @throws `bad-argument` without either. */
export function repositoryPath(options: CommonOptions): string {
  const path = options.repository ?? process.env.HOLDFAST_REPOSITORY;
  if (path === undefined || path === '') {
    throw new HoldfastError('bad-argument', 'which datastore? Give --repository DIR, or set HOLDFAST_REPOSITORY');
  }
  return path;
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
  const count = Number(options.workers);
  if (!Number.isInteger(count) || count < 1 || count > MAX_WORKERS) {
    throw new HoldfastError(
      'bad-argument',
      `--workers takes a whole number from 1 to ${MAX_WORKERS}, not ${JSON.stringify(options.workers)}`,
    );
  }
  return count;
}

export function startPool(workers: number, onQuarantined: (entry: number) => void): WorkerPool {
  return WorkerPool.start(new URL('worker.js', import.meta.url), workers, (event, argument) => {
    if (event === 'store.quarantined') onQuarantined(argument as number);
  });
}

/** Warnings go to standard error, so that JSON on standard output stays whole. */
export function warn(message: string): void {
  process.stderr.write(`warning: ${printable(message)}\n`);
}
