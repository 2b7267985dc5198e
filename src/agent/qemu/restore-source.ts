// A snapshot of a virtual machine as its restore reads it: archives, the threads that fetch their objects, and the small files in it.
import { Writable } from 'node:stream';
import type { Archive } from '../../schema/manifest.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import { type GetObject, restoreToPipe } from '../restore/run-restore.ts';

/** A configuration and a firewall's rules are smaller by far. */
const MAX_BLOB_BYTES = 4 << 20;

export interface VmSnapshot {
  /** `vm/101/2026-11-20T02:00:00Z`. */
  readonly name: string;
  readonly archives: readonly Archive[];
  readonly space: number;
  /** Threads that read its objects, in a directory or at a server. */
  readonly pool: WorkerPool;
  readonly get: GetObject;
  /** Opens another session at the server for one that was lost; the threads read in it from then on. Undefined where there is none to lose. */
  readonly reopen?: (() => Promise<void>) | undefined;
}

/** The text of a small file of the snapshot; undefined when it has none of this name. @throws what reading objects throws, `too-large`. */
export async function readBlob(snapshot: VmSnapshot, name: string, signal: AbortSignal): Promise<string | undefined> {
  const archive = snapshot.archives.find((each) => each.name === name);
  if (archive === undefined) return undefined;
  if (archive.kind !== 'blob' || archive.sizeBytes > MAX_BLOB_BYTES)
    throw new HoldfastError('too-large', `${name} of ${snapshot.name} is no small file (${archive.sizeBytes} bytes)`);
  const parts: Buffer[] = [];
  const stdout = new Writable({
    write(chunk: Buffer, _encoding, done) {
      // The restore may use the memory again.
      parts.push(Buffer.from(chunk));
      done();
    },
  });
  const { space, pool, get } = snapshot;
  await restoreToPipe({ archive, space, stdout, zeroLost: false, signal, onProgress: () => {} }, pool, get);
  return Buffer.concat(parts).toString('utf8');
}
