// What the server of the tests keeps: records in a map by space, snapshots of groups, and sessions with simplified scopes.
import { randomBytes } from 'node:crypto';
import { createCodec } from '../../../src/chunker/create-codec.ts';
import { ID_BYTES, type ObjectId } from '../../../src/chunker/object.ts';
import { hexHash } from '../../../src/chunker/object-id.ts';
import { readRecordHeader, recordIsWhole, recordRefs } from '../../../src/chunker/record.ts';
import type { ClientPart, Manifest, ServerPart } from '../../../src/schema/manifest.ts';
import { canonicalJson } from '../../../src/util/canonical-json.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

export interface StoredSession {
  readonly id: string;
  readonly token: string;
  readonly kind: 'backup' | 'read';
  readonly group: string;
  readonly space: number;
  /** Hexadecimal ids that it may name or read. */
  readonly scope: Set<string>;
  committed: Manifest | undefined;
}

export const hexIds = (bytes: Uint8Array): string[] =>
  Array.from({ length: bytes.length / ID_BYTES }, (_, place) =>
    Buffer.from(bytes.subarray(place * ID_BYTES, (place + 1) * ID_BYTES)).toString('hex'),
  );

export class MemoryStore {
  readonly id = '5e'.repeat(16);
  readonly averageBytes = 65536;
  /** By space, then id in hexadecimal. */
  readonly records = new Map<number, Map<string, Buffer>>();
  readonly snapshots = new Map<string, Manifest[]>();
  readonly sessions = new Map<string, StoredSession>();
  /** What unfinished sessions of a group put. */
  readonly leftovers = new Map<string, Set<string>>();
  /** Ids that lost their good copy. */
  readonly quarantined = new Set<string>();
  damaged: { archive: string; offset: number; length: number }[] = [];
  readonly #spaces = ['plain'];
  readonly #plain = createCodec(undefined);

  space(fingerprint: string | undefined): number {
    const name = fingerprint ?? 'plain';
    if (!this.#spaces.includes(name)) this.#spaces.push(name);
    return this.#spaces.indexOf(name);
  }

  objects(space: number): Map<string, Buffer> {
    let objects = this.records.get(space);
    if (objects === undefined) {
      objects = new Map();
      this.records.set(space, objects);
    }
    return objects;
  }

  bases(group: string, space: number): Manifest[] {
    const all = (this.snapshots.get(group) ?? []).filter(({ server }) => server.space === space);
    return all.slice(-2).reverse();
  }

  openBackup(group: string, fingerprint: string | undefined): StoredSession {
    const space = this.space(fingerprint);
    const session = this.#session('backup', group, space);
    for (const { client } of this.bases(group, space))
      for (const archive of client.archives) this.#addClosure(session, archive.root);
    for (const id of this.leftovers.get(group) ?? []) session.scope.add(id);
    return session;
  }

  openRead(group: string, manifests: readonly Manifest[]): StoredSession {
    const session = this.#session('read', group, manifests[0]?.server.space ?? 0);
    for (const { client } of manifests) for (const archive of client.archives) session.scope.add(archive.root);
    return session;
  }

  #session(kind: 'backup' | 'read', group: string, space: number): StoredSession {
    const id = randomBytes(16).toString('hex');
    const token = randomBytes(32).toString('base64url');
    const session = { id, token, kind, group, space, scope: new Set<string>(), committed: undefined };
    this.sessions.set(id, session);
    return session;
  }

  #addClosure(session: StoredSession, id: string): void {
    const record = this.objects(session.space).get(id);
    if (record === undefined || session.scope.has(id)) return;
    session.scope.add(id);
    for (const ref of hexIds(refsOf(record))) this.#addClosure(session, ref);
  }

  knows(session: StoredSession, id: string): boolean {
    return session.scope.has(id) && this.objects(session.space).has(id) && !this.quarantined.has(id);
  }

  take(session: StoredSession, record: Buffer): void {
    const id = Buffer.from(record.subarray(24, 56)).toString('hex');
    if (!recordIsWhole(record)) throw refused('object-damaged', 'not one whole record', id);
    if (session.space === 0) this.#plain.open(record, Buffer.from(id, 'hex') as ObjectId);
    for (const ref of hexIds(refsOf(record)))
      if (!this.knows(session, ref)) throw refused('out-of-scope', `object ${ref} is not in scope`, id);
    this.objects(session.space).set(id, Buffer.from(record));
    this.quarantined.delete(id);
    session.scope.add(id);
  }

  read(session: StoredSession, id: string): Buffer {
    if (!this.knows(session, id)) return Buffer.alloc(0);
    const record = this.objects(session.space).get(id) as Buffer;
    for (const ref of hexIds(refsOf(record))) session.scope.add(ref);
    return record;
  }

  commit(session: StoredSession, client: ClientPart, time: number | undefined): Manifest {
    if (session.committed !== undefined) return session.committed;
    for (const { root } of client.archives) {
      if (!this.knows(session, root)) throw refused('out-of-scope', `root ${root} is not in scope`, root);
    }
    const all = this.snapshots.get(session.group) ?? [];
    const sequence = all.length + 1;
    const server: ServerPart = {
      sequence,
      time: time ?? 1_790_000_000 + sequence,
      suspectClock: false,
      session: session.id,
      space: session.space,
      owner: 'root@pam',
      origin: { store: this.id, sequence },
      protected: false,
      notes: '',
      damaged: false,
    };
    const digest = hexHash(Buffer.from(canonicalJson({ client, server })));
    session.committed = { format: 1, client, server, digest };
    this.snapshots.set(session.group, [...all, session.committed]);
    this.leftovers.delete(session.group);
    return session.committed;
  }

  /** As `DELETE`, or as the end of the server: what a backup put is left for a retry. */
  end(session: StoredSession): void {
    this.sessions.delete(session.id);
    if (session.kind === 'backup' && session.committed === undefined)
      this.leftovers.set(session.group, new Set([...(this.leftovers.get(session.group) ?? []), ...session.scope]));
  }
}

function refsOf(record: Buffer): Uint8Array {
  const header = readRecordHeader(record);
  if (header === undefined) throw refused('object-damaged', 'no record', '');
  return recordRefs(record, header);
}

function refused(code: 'object-damaged' | 'out-of-scope', message: string, id: string): HoldfastError {
  return new HoldfastError(code, message, { data: { id } });
}
