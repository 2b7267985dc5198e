// What sessions need of an open datastore: the interface beside its consumer.
import type { BackupSession } from '../../datastore/sessions/backup-session.ts';
import type { ReadRequest, ReadSession } from '../../datastore/sessions/read-session.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';

export interface BackupRequest {
  readonly ns: Namespace;
  readonly group: GroupName;
  readonly owner: string;
  readonly compressionLevel: number;
  readonly fingerprint: string | undefined;
  readonly countsScopeOnly: boolean;
}

/** Of a held datastore. */
export interface SessionStore {
  readonly config: { readonly store: string; readonly chunk: { readonly averageBytes: number } };
  readonly groups: { state(ns: Namespace, group: GroupName): Promise<{ readonly owner: string } | undefined> };
  openSession(request: BackupRequest): Promise<BackupSession>;
  openReader(request: ReadRequest): Promise<ReadSession>;
}

/** A datastore that clients reach. */
export interface ServedStore {
  readonly name: string;
  readonly store: SessionStore;
  readonly pool: Pick<WorkerPool, 'all'>;
  readonly bulkPort: number;
}
