// The commit of a backup session: everything that it relies on is made durable, then its manifest. Rules D4 to D8, S4 and S5.
import { type ObjectId, parseId } from '../../chunker/object.ts';
import type { Archive, ClientPart, Manifest } from '../../schema/manifest.ts';
import { formatTime, type GroupName, MAX_TIME, type Namespace } from '../../schema/names.ts';
import type { GroupState, SessionRecord } from '../../schema/state-files.ts';
import { HoldfastError } from '../../util/errors.ts';
import { heldText } from '../anomaly/describe-anomaly.ts';
import { anomalyFactor, holdGroup, isHeld, watched } from '../anomaly/watch-commit.ts';
import { damageFinder } from '../find-damage.ts';
import { rootsOf } from '../gc/roots.ts';
import { PackState } from '../packs/pack-table.ts';
import type { PreparedManifest, SnapshotName } from '../snapshots/group-store.ts';
import { labelTime } from '../snapshots/label-time.ts';
import { manifestDigest } from '../snapshots/manifest-digest.ts';
import { readableManifest } from '../snapshots/readable-manifest.ts';
import type { SessionContext } from './session-context.ts';
import { removeSessionFiles } from './session-files.ts';
import type { SessionMarks } from './session-marks.ts';

export interface CommitResult {
  readonly name: SnapshotName;
  readonly manifest: Manifest;
  /** Bytes that packs and manifest of this session take on disk. */
  readonly bytesStored: number;
  readonly warnings: readonly string[];
}

/** A session as its commit sees it. */
export interface CommittingSession {
  readonly record: SessionRecord;
  readonly marks: SessionMarks;
  /** Of the key of the session's space; undefined for space plain. */
  readonly fingerprint: string | undefined;
  /** Unfinished sessions that it continued from: they end with it. */
  readonly adopted: readonly SessionRecord[];
  /** How many copies were quarantined when it opened. */
  readonly quarantinedAtOpen: number;
  counters(): Promise<{ readonly bytesNew: number; readonly bytesStored: number }>;
  /** Whether its group had a snapshot in its space when it opened. */
  readonly hasBase: boolean;
  /** What unfinished sessions before it have stored for it, on disk. */
  readonly bytesAdopted: number;
  /** In the turn of the roots: the snapshot is durable. */
  end(): Promise<void>;
}

/** Rounds of syncing and checking again before a commit gives up: other sessions may keep appending to a pack it relies on. */
const MAX_SYNC_ROUNDS = 100;

export class SessionCommit {
  readonly #context: SessionContext;
  readonly #session: CommittingSession;
  readonly #ns: Namespace;
  readonly #group: GroupName;

  constructor(context: SessionContext, session: CommittingSession) {
    this.#context = context;
    this.#session = session;
    this.#ns = session.record.ns as Namespace;
    this.#group = session.record.group as GroupName;
  }

  /** In the turn of the group. @throws as `BackupSession.commit`. */
  async run(client: ClientPart, wantedTime: number | undefined, signal: AbortSignal): Promise<CommitResult> {
    const { groups, pool } = this.#context;
    const { record } = this.#session;
    this.#requireKey(client.key);
    await this.#requireRoots(client.archives);
    await pool.all('store.seal', record.session);
    await this.#syncRelied();
    this.#refuseFreshDamage(client.archives);
    signal.throwIfAborted();

    const state = await groups.state(this.#ns, this.#group);
    const { time, suspect, warning } = labelTime(Math.floor(Date.now() / 1000), wantedTime, state?.lastTime);
    if (time > MAX_TIME)
      throw new HoldfastError(
        'too-many',
        `group ${this.#group} has no label left after ${formatTime(state?.lastTime ?? 0)}`,
      );
    const { bytesNew, bytesStored } = await this.#session.counters();
    const marks: GroupState = {
      ...state,
      format: 1,
      owner: record.owner,
      lastSequence: (state?.lastSequence ?? 0) + 1,
      lastTime: time,
    };
    const added = {
      bytesNew: bytesNew + this.#session.bytesAdopted,
      bytesStored: bytesStored + this.#session.bytesAdopted,
      bytesLogical: client.statistics.bytesLogical,
      isFull: !this.#session.hasBase,
    };
    const next = watched(marks, { time, space: record.space, added }, await anomalyFactor(this.#context.layout));
    const warnings = [...(warning === undefined ? [] : [warning]), ...(await this.#writeState(next, isHeld(state)))];

    const name = { ns: this.#ns, group: this.#group, time };
    const manifest = this.#manifest(client, marks, suspect, bytesStored);
    const prepared = await groups.prepare(name, manifest);
    return await this.#context.rootTurn.run(() => this.#publish(prepared, name, manifest, warnings));
  }

  /** Makes the group's marks durable, and with them what holds the group from now on. Returns what the user should know of that. */
  async #writeState(state: GroupState, wasHeld: boolean): Promise<string[]> {
    const { groups, rootTurn } = this.#context;
    if (!isHeld(state) || wasHeld) await groups.writeState(this.#ns, this.#group, state);
    if (!isHeld(state)) return [];
    const failed = wasHeld ? [] : await rootTurn.run(() => holdGroup(groups, this.#ns, this.#group, state));
    // Its own figures a session has counted so that its owner may see them; an earlier one's may be of another kind.
    return [heldText(this.#ns, this.#group, state.anomaly, !wasHeld), ...failed];
  }

  /** The snapshot that the session has made. @throws `aborted` when it made none. */
  async repeated(): Promise<CommitResult> {
    const { groups } = this.#context;
    const { session } = this.#session.record;
    for (const time of (await groups.times(this.#ns, this.#group)).reverse()) {
      const name = { ns: this.#ns, group: this.#group, time };
      const manifest = await readableManifest(groups, name);
      if (manifest?.server.session === session) return { name, manifest, bytesStored: 0, warnings: [] };
    }
    throw new HoldfastError('aborted', `session ${session} is over and made no snapshot`);
  }

  async #publish(
    prepared: PreparedManifest,
    name: SnapshotName,
    manifest: Manifest,
    warnings: string[],
  ): Promise<CommitResult> {
    const { layout, withdrawnRoots } = this.#context;
    let isPublished = false;
    try {
      // Between the first round and here another session may have failed a pack, or a copy may have been found bad.
      await this.#syncRelied();
      this.#refuseFreshDamage(manifest.client.archives);
      prepared.publish();
      isPublished = true;
      await prepared.sync();
    } catch (error) {
      if (isPublished) withdrawnRoots.push(...rootsOf(manifest));
      await prepared.withdraw();
      throw error;
    }
    const { record, adopted } = this.#session;
    const packBytes = (await this.#session.counters()).bytesStored;
    try {
      await removeSessionFiles(layout, [record.session, ...adopted.map(({ session }) => session)]);
    } catch (error) {
      // The snapshot is there and durable; the next open sees that the session has its manifest.
      warnings.push(`the session's file stays until the next command: ${(error as Error).message}`);
    }
    await this.#session.end();
    const bytesStored = packBytes + Buffer.byteLength(JSON.stringify(manifest, undefined, 1));
    return { name, manifest, bytesStored, warnings };
  }

  #manifest(client: ClientPart, state: GroupState, suspectClock: boolean, bytesStored: number): Manifest {
    const { record } = this.#session;
    const server = {
      sequence: state.lastSequence,
      time: state.lastTime,
      suspectClock,
      session: record.session,
      space: record.space,
      owner: record.owner,
      origin: { store: this.#context.storeId, sequence: state.lastSequence },
      protected: false,
      notes: '',
      damaged: false,
      bytesStored,
    };
    return { format: 1, client, server, digest: manifestDigest(client, server) };
  }

  /** The manifest names the key that its objects are encrypted with: whoever restores asks for it by that name. */
  #requireKey(named: string | null): void {
    const own = this.#session.fingerprint ?? null;
    if (named !== own)
      throw new HoldfastError('bad-argument', `the manifest names key ${named}, and its session has key ${own}`);
  }

  /** Roots must be in scope or put by this session, like every ref (rule S4). */
  async #requireRoots(archives: readonly Archive[]): Promise<void> {
    const ids = archives.map((archive) => parseId(archive.root) as ObjectId);
    const { session } = this.#session.record;
    const known = await this.#context.pool.call<boolean[]>(0, 'store.have', { session, ids });
    const unknown = archives.find((_, place) => !known[place]);
    if (unknown !== undefined)
      throw new HoldfastError(
        'out-of-scope',
        `the root of ${unknown.name} was neither put in this session nor is in its scope`,
      );
  }

  /** Syncs what the session relies on until nothing of it is volatile (rules D4, D5). */
  async #syncRelied(): Promise<void> {
    for (let round = 0; round < MAX_SYNC_ROUNDS; round++) {
      const unsynced = this.#volatilePacks();
      if (unsynced.length === 0) return;
      await this.#context.pool.all('store.barrier', unsynced);
    }
    throw new HoldfastError(
      'timed-out',
      'packs that this backup shares with other running sessions do not become durable; run it again',
    );
  }

  #volatilePacks(): number[] {
    const { packs } = this.#context;
    const unsynced: number[] = [];
    for (const { pack, end } of this.#session.marks.relied(packs.count)) {
      if (packs.state(pack) === PackState.condemned) {
        throw new HoldfastError(
          'pack-condemned',
          `pack ${packs.packId(pack).toString('hex')}, which this backup relies on, could not be written; check the disk and run the backup again`,
        );
      }
      if (!packs.isDurable(pack, end)) unsynced.push(pack);
    }
    return unsynced;
  }

  #refuseFreshDamage(archives: readonly Archive[]): void {
    if (this.#context.quarantine.count === this.#session.quarantinedAtOpen) return;
    const { locator, source } = this.#context;
    const finder = damageFinder(locator, source, this.#session.record.space);
    const ranges = archives.flatMap((archive) => finder.ranges(archive));
    if (ranges.length === 0) return;
    throw new HoldfastError(
      'object-damaged',
      `objects that this backup reuses were found damaged while it ran; their ranges must be read again`,
      {
        data: { ranges },
      },
    );
  }
}
