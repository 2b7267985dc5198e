// What a backup needs of a session, wherever the datastore is: the interface beside its consumer.
import type { ObjectId, StoredObject } from '../../chunker/object.ts';
import type { Archive, ClientPart, Manifest } from '../../schema/manifest.ts';
import type { Range } from '../sources/source.ts';

/** A snapshot of the group that this backup may build on. */
export interface Base {
  /** `TYPE/ID/TIME`. */
  readonly name: string;
  readonly sequence: number;
  readonly archives: readonly Archive[];
  readonly manifest: Manifest;
  /** Ranges without a good copy: they are read again although nothing changed. */
  readonly damaged: readonly (Range & { readonly archive: string })[];
}

export interface StoredCounters {
  readonly objectsNew: number;
  readonly objectsReused: number;
  /** Plain bytes of new objects. */
  readonly bytesNew: number;
  /** Bytes on disk of what was sealed so far. */
  readonly bytesStored: number;
}

export interface Session {
  readonly id: string;
  /** Newest two snapshots, the preferred one first. */
  readonly bases: readonly Base[];
  /** Objects taken over from unfinished backups of this group. */
  readonly adoptedObjects: number;
  /** Whether its sinks have foresight. */
  readonly isFar?: boolean;
  put(kind: number, refs: Uint8Array, payload: Uint8Array): Promise<ObjectId>;
  get(id: ObjectId): Promise<StoredObject>;
  counters(): Promise<StoredCounters>;
  commit(client: ClientPart, wantedTime: number | undefined, signal: AbortSignal): Promise<Committed>;
  /** Ends without a snapshot; what was stored stays for a retry. */
  suspend(): Promise<void>;
}

export interface Committed {
  readonly name: { readonly group: string; readonly time: number };
  readonly manifest: Manifest;
  readonly bytesStored: number;
  readonly warnings: readonly string[];
}
