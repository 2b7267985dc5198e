// A backup session in the main thread: opened with a fixed scope, written through by all threads of the pool, and ended by commit,
// suspension (what it stored stays for a retry) or abort. Rules S1 to S5.
import type { ObjectId, StoredObject } from '../../chunker/object.ts';
import type { ObjectKey } from '../../chunker/object-codec.ts';
import type { Archive, ClientPart, Manifest } from '../../schema/manifest.ts';
import { formatTime, type GroupName, type Namespace } from '../../schema/names.ts';
import type { SessionRecord } from '../../schema/state-files.ts';
import { Turn } from '../../util/turn.ts';
import { describingRootErrors } from '../config.ts';
import type { DamagedRange } from '../damage.ts';
import { damageFinder } from '../find-damage.ts';
import { type Root, rootsOf } from '../gc/roots.ts';
import type { AllowanceDescriptor } from '../limits/allowance.ts';
import type { SnapshotName } from '../snapshots/group-store.ts';
import { readableManifest } from '../snapshots/readable-manifest.ts';
import { type CommitResult, SessionCommit } from './session-commit.ts';
import type { SessionContext } from './session-context.ts';
import { SessionMarks } from './session-marks.ts';
import type { SessionDescriptor, SinkCounters } from './session-sink.ts';
import { type GroupLabels, shareManifests } from './shared-manifests.ts';

/** A snapshot that a client may build on. */
export interface BaseSnapshot {
  readonly name: string;
  readonly sequence: number;
  readonly archives: readonly Archive[];
  /** For clients that check its signature. */
  readonly manifest: Manifest;
  /** Ranges that have no good copy: to be read again although nothing changed. */
  readonly damaged: readonly DamagedRange[];
}

interface OpenOptions {
  /** Of an encrypted space whose key is here. */
  readonly key: ObjectKey | undefined;
  /** Of the key of the session's space; undefined for space plain. */
  readonly fingerprint: string | undefined;
  readonly compressionLevel: number;
  /** What it may store: quotas and free space. */
  readonly allowance: AllowanceDescriptor;
  /** Counters then say nothing of what others have stored (rule S7). */
  readonly countsScopeOnly: boolean;
  /** The owner's groups that have snapshots: what these reach is in scope. */
  readonly ownerGroups: readonly GroupLabels[];
  readonly adopted: readonly SessionRecord[];
  readonly leftovers: readonly Uint32Array[];
  /** Called once when the session is over; `committed` false when what it stored stays for a retry. */
  readonly onEnded: (committed: boolean) => Promise<void>;
}

export class BackupSession {
  readonly id: string;
  /** The group's newest two snapshots, newest first; an undamaged one before a damaged one (rule S5). */
  readonly bases: readonly BaseSnapshot[];
  readonly #context: SessionContext;
  readonly #record: SessionRecord;
  readonly #options: OpenOptions;
  readonly #marks: SessionMarks;
  readonly #scopeRoots: Root[];
  readonly #quarantinedAtOpen: number;
  #counters: SinkCounters = { objectsNew: 0, objectsReused: 0, bytesNew: 0, bytesStored: 0 };
  #ended = false;

  private constructor(
    context: SessionContext,
    record: SessionRecord,
    options: OpenOptions,
    marks: SessionMarks,
    bases: BaseSnapshot[],
    scopeRoots: Root[],
  ) {
    this.id = record.session;
    this.bases = bases;
    this.#context = context;
    this.#record = record;
    this.#options = options;
    this.#marks = marks;
    this.#scopeRoots = scopeRoots;
    this.#quarantinedAtOpen = context.quarantine.count;
  }

  /** Opens the session in every thread. Its file is durable already. */
  static async open(context: SessionContext, record: SessionRecord, options: OpenOptions): Promise<BackupSession> {
    const ns = record.ns as Namespace;
    const group = record.group as GroupName;
    const newest: Manifest[] = [];
    for (const time of (await context.groups.times(ns, group)).reverse()) {
      const manifest = await readableManifest(context.groups, { ns, group, time });
      if (manifest !== undefined && manifest.server.space === record.space) newest.push(manifest);
      if (newest.length === 2) break;
    }
    const bases = newest.map((manifest) => baseOf(context, manifest));
    bases.sort((a, b) => Number(a.damaged.length > 0) - Number(b.damaged.length > 0));
    const marks = new SessionMarks();
    for (const entry of options.leftovers.flatMap((entries) => [...entries])) {
      marks.scope.add(entry);
      marks.relyOn(context.locator.pack(entry), context.locator.offset(entry) + context.locator.length(entry));
    }
    const scopeRoots = newest.flatMap(rootsOf);
    const session = new BackupSession(context, record, options, marks, bases, scopeRoots);
    await context.pool.all('store.openSession', {
      sessionId: record.session,
      space: record.space,
      key: options.key,
      marks: marks.buffers,
      scopeRoots: scopeRoots.map(({ id }) => Buffer.from(id).toString('hex')),
      scopeManifests: shareManifests(options.ownerGroups),
      compressionLevel: options.compressionLevel,
      allowance: options.allowance,
      countsScopeOnly: options.countsScopeOnly,
    } satisfies SessionDescriptor);
    return session;
  }

  /** Whether it is to make a snapshot of this group, or in this namespace of any group. */
  isOf(ns: Namespace, group: GroupName | undefined): boolean {
    return this.#record.ns === ns && (group === undefined || this.#record.group === group);
  }

  /** Objects of earlier, unfinished sessions that this one continues from. */
  get adoptedObjects(): number {
    return this.#options.leftovers.reduce((sum, entries) => sum + entries.length, 0);
  }

  #bytesAdopted(): number {
    const { locator } = this.#context;
    let bytes = 0;
    for (const entries of this.#options.leftovers) for (const entry of entries) bytes += locator.length(entry);
    return bytes;
  }

  /** When it opened, nothing was in scope: no snapshot of the owner, nothing adopted. */
  get scopeIsEmpty(): boolean {
    return this.#scopeRoots.length === 0 && this.#options.ownerGroups.length === 0 && this.adoptedObjects === 0;
  }

  /** Stores one object through the pool's first thread. */
  async put(kind: number, refs: Uint8Array, payload: Uint8Array): Promise<ObjectId> {
    const id = await this.#context.pool.call<Uint8Array>(0, 'store.put', { session: this.id, kind, refs, payload });
    return Buffer.from(id) as ObjectId;
  }

  /** Stores a finished record of a client through the pool's first thread. @throws `object-damaged`, `out-of-scope`, `too-large`. */
  async putRecord(record: Uint8Array): Promise<ObjectId> {
    const id = await this.#context.pool.call<Uint8Array>(0, 'store.putRecord', { session: this.id, record });
    return Buffer.from(id) as ObjectId;
  }

  /** The space that the session's objects are in. */
  get space(): number {
    return this.#record.space;
  }

  /** Reads an object of the scope. @throws `object-missing` outside of it. */
  async get(id: ObjectId): Promise<StoredObject> {
    return await this.#context.pool.call<StoredObject>(0, 'store.get', { session: this.id, id });
  }

  /** What the session stored so far. */
  async counters(): Promise<Readonly<SinkCounters>> {
    for (const fresh of await this.#context.pool.all<SinkCounters>('store.takeCounters', this.id)) {
      this.#counters.objectsNew += fresh.objectsNew;
      this.#counters.objectsReused += fresh.objectsReused;
      this.#counters.bytesNew += fresh.bytesNew;
      this.#counters.bytesStored += fresh.bytesStored;
    }
    return this.#counters;
  }

  /**
   * Makes the snapshot: everything it relies on durable, then the manifest. Repeated after success it returns the same snapshot (rule D7).
   * `wantedTime` is the label that the user asked for, in Unix seconds.
   * @throws `pack-condemned` when a pack it relies on failed, `object-damaged` with `ranges` when something it names turned out bad
   * meanwhile (heal those and commit again).
   */
  async commit(client: ClientPart, wantedTime: number | undefined, signal: AbortSignal): Promise<CommitResult> {
    const { groups, groupTurns, layout } = this.#context;
    const key = groups.groupPath(this.#record.ns as Namespace, this.#record.group as GroupName);
    const turn = groupTurns.get(key) ?? new Turn();
    groupTurns.set(key, turn);
    const commit = new SessionCommit(this.#context, {
      record: this.#record,
      marks: this.#marks,
      fingerprint: this.#options.fingerprint,
      adopted: this.#options.adopted,
      quarantinedAtOpen: this.#quarantinedAtOpen,
      counters: () => this.counters(),
      hasBase: this.bases.length > 0,
      bytesAdopted: this.#bytesAdopted(),
      end: () => this.#end(true),
    });
    return await turn.run(() =>
      describingRootErrors(layout.root, () =>
        this.#ended ? commit.repeated() : commit.run(client, wantedTime, signal),
      ),
    );
  }

  /** Ends without a snapshot; what was stored stays for a retry of this group. */
  async suspend(): Promise<void> {
    if (this.#ended) return;
    try {
      await this.#context.pool.all('store.seal', this.id);
    } finally {
      await this.#context.rootTurn.run(() => this.#end(false));
    }
  }

  /** What garbage collection must keep for this session: its puts and what it adopted by entry, its scope by roots (rule S3). */
  get marks(): SessionMarks {
    return this.#marks;
  }

  get scopeRoots(): readonly Root[] {
    return this.#scopeRoots;
  }

  get adopted(): readonly Uint32Array[] {
    return this.#options.leftovers;
  }

  /** A snapshot is about to be forgotten: what it reaches stays in the scope of a session that opened while it was there. */
  async keepForgotten({ ns, group, time }: SnapshotName, roots: readonly Root[]): Promise<void> {
    const path = this.#context.groups.groupPath(ns, group);
    if (!this.#options.ownerGroups.some(({ groupPath, times }) => groupPath === path && times.includes(time))) return;
    this.#scopeRoots.push(...roots);
    const ids = roots.map(({ id }) => Buffer.from(id).toString('hex'));
    await this.#context.pool.all('store.keepForgotten', { session: this.id, roots: ids });
  }

  async #end(committed: boolean): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#context.pool.all('store.closeSession', this.id);
    await this.#options.onEnded(committed);
  }
}

function baseOf(context: SessionContext, manifest: Manifest): BaseSnapshot {
  const { client, server } = manifest;
  const finder = damageFinder(context.locator, context.source, server.space);
  const damaged = context.quarantine.knowsOfDamage ? client.archives.flatMap((archive) => finder.ranges(archive)) : [];
  return {
    name: `${client.backup}/${formatTime(server.time)}`,
    sequence: server.sequence,
    archives: client.archives,
    manifest,
    damaged,
  };
}
