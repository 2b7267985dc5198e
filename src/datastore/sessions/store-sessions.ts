// The sessions of a store: those that are open, with what must stay for them, and those that ended without a snapshot, with what they left for
// a retry. Rules G1, S1 to S3.
import { randomBytes } from 'node:crypto';
import type { DataKey } from '../../chunker/data-key.ts';
import { objectKeyOf } from '../../chunker/object-codec.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import type { SessionRecord } from '../../schema/state-files.ts';
import { HoldfastError } from '../../util/errors.ts';
import { describingRootErrors } from '../config.ts';
import type { Root, RootSession } from '../gc/roots.ts';
import type { AllowanceDescriptor } from '../limits/allowance.ts';
import { requireOnline, requireWritable } from '../limits/maintenance.ts';
import type { SessionAllowances } from '../limits/session-allowances.ts';
import type { SnapshotName } from '../snapshots/group-store.ts';
import { KnownGroups } from '../snapshots/known-groups.ts';
import type { StoreClock } from '../store-clock.ts';
import { BackupSession } from './backup-session.ts';
import { findLeftovers, type Leftovers, sessionsOfPacks } from './leftovers.ts';
import { type ReadRequest, ReadSession } from './read-session.ts';
import type { SessionContext } from './session-context.ts';
import { writeSessionFile } from './session-files.ts';
import { sessionSpace } from './session-space.ts';
import type { GroupLabels } from './shared-manifests.ts';

export interface SessionRequest {
  readonly ns: Namespace;
  readonly group: GroupName;
  readonly owner: string;
  readonly compressionLevel: number;
  /** Encrypts what the session stores; without it, and without `fingerprint`, the session is in space plain. */
  readonly key?: DataKey | undefined;
  /** Of a key that only the client elsewhere has: the session then takes finished records. */
  readonly fingerprint?: string | undefined;
  /** The client is elsewhere: it is not to learn what others have stored. */
  readonly countsScopeOnly?: boolean;
}

/** What an earlier process left, and by which clock it ends. */
export interface SessionsBefore {
  readonly unfinished: SessionRecord[];
  readonly leftovers: Leftovers;
  readonly clock: StoreClock;
}

export class StoreSessions {
  readonly #context: SessionContext;
  readonly #allowances: SessionAllowances;
  readonly #clock: StoreClock;
  readonly #unfinished: SessionRecord[];
  readonly #leftovers: Leftovers;
  /** Not read anew for each session: of 100,000 snapshots that would take seconds, in which no other session opens. */
  readonly #known: KnownGroups;
  readonly #backups = new Map<string, BackupSession>();
  readonly #readers = new Set<ReadSession>();
  #failed = 0;

  constructor(context: SessionContext, allowances: SessionAllowances, before: SessionsBefore) {
    this.#context = context;
    this.#allowances = allowances;
    this.#known = new KnownGroups(context.groups);
    this.#clock = before.clock;
    this.#unfinished = before.unfinished;
    this.#leftovers = before.leftovers;
  }

  /** Backups that are under way. */
  get backups(): Iterable<BackupSession> {
    return this.#backups.values();
  }

  /** Everything that is open, as garbage collection sees it. */
  get open(): readonly RootSession[] {
    return [...this.#backups.values(), ...this.#readers];
  }

  /** Sessions that ended without commit and still have leftovers for a retry. */
  get unfinished(): readonly SessionRecord[] {
    return this.#unfinished;
  }

  /** Index entries of what unfinished sessions left. */
  get leftovers(): Iterable<Uint32Array> {
    return this.#leftovers.values();
  }

  /** How many ended without a snapshot so far. */
  get failed(): number {
    return this.#failed;
  }

  /** Packs that sessions which are open or unfinished wrote: a retry finds leftovers by their packs (rule G2). */
  async packs(): Promise<ReadonlySet<number>> {
    const { layout, packs } = this.#context;
    const sessions = new Set([...this.#backups.keys(), ...this.#unfinished.map((record) => record.session)]);
    const sessionOf = await sessionsOfPacks(layout, packs, sessions);
    return new Set([...sessionOf.keys()].filter((pack) => sessionOf[pack] !== undefined));
  }

  /** A snapshot is about to be forgotten: what it reaches stays for backups that opened while it was there (rule S3). */
  async keepForgotten(name: SnapshotName, roots: readonly Root[]): Promise<void> {
    for (const session of this.#backups.values()) await session.keepForgotten(name, roots);
  }

  /**
   * Opens a backup session for a group.
   * @throws `not-owner` when the group belongs to somebody else, `datastore-maintenance`, `quota-exceeded`, `disk-full` below the
   * low-space limit.
   */
  async openBackup(request: SessionRequest): Promise<BackupSession> {
    return await this.#context.rootTurn.run(() => this.#openInTurn(request));
  }

  /**
   * Opens snapshots of a group for a reader elsewhere. What they reach stays until it ends, also when they are forgotten.
   * @throws `not-found`, `manifest-altered`, `bad-argument` when they are not all of one key, `datastore-maintenance`.
   */
  async openReader(request: ReadRequest): Promise<ReadSession> {
    return await this.#context.rootTurn.run(async () => {
      await requireOnline(this.#context.layout);
      return await ReadSession.open(this.#context, request, this.#readers);
    });
  }

  async #openInTurn(request: SessionRequest): Promise<BackupSession> {
    const { layout, groups } = this.#context;
    const limits = await requireWritable(layout, 'backups');
    const state = await groups.state(request.ns, request.group);
    if (state !== undefined && state.owner !== '' && state.owner !== request.owner) {
      throw new HoldfastError('not-owner', `group ${request.group} belongs to ${state.owner}, not to ${request.owner}`);
    }
    const allowance = await this.#allowances.enter(limits, request);
    try {
      return await this.#openAllowed(request, allowance);
    } catch (error) {
      this.#allowances.leave(allowance, false);
      throw error;
    }
  }

  async #openAllowed(request: SessionRequest, allowance: AllowanceDescriptor): Promise<BackupSession> {
    const { layout, groups, locator, source } = this.#context;
    const key = request.key === undefined ? undefined : objectKeyOf(request.key);
    const fingerprint = request.key?.fingerprint ?? request.fingerprint;
    const space = await describingRootErrors(layout.root, () =>
      sessionSpace({ layout, groups, index: locator.index }, { ...request, fingerprint }),
    );
    if (key !== undefined) source.unlock(space, key);
    const record: SessionRecord = {
      format: 1,
      session: randomBytes(16).toString('hex'),
      kind: 'backup',
      ns: request.ns,
      group: request.group,
      owner: request.owner,
      space,
      opened: new Date().toISOString(),
      openedClockMs: this.#clock.elapsedMs,
    };
    await describingRootErrors(layout.root, () => writeSessionFile(layout, record));
    const adopted = this.#unfinished.filter(
      (other) =>
        other.ns === record.ns &&
        other.group === record.group &&
        other.owner === record.owner &&
        other.space === record.space,
    );
    const leftovers = adopted.map((other) => this.#leftovers.get(other.session) ?? new Uint32Array(0));
    const session = await BackupSession.open(this.#context, record, {
      key,
      fingerprint,
      compressionLevel: request.compressionLevel,
      countsScopeOnly: request.countsScopeOnly ?? false,
      allowance,
      ownerGroups: await this.#groupsOf(request.owner),
      adopted,
      leftovers,
      onEnded: async (committed) => {
        this.#allowances.leave(allowance, committed);
        await this.#ended(record, committed ? adopted : [], committed);
      },
    });
    this.#backups.set(record.session, session);
    return session;
  }

  /** The snapshots that the owner has now; their manifests are read only when a session needs its whole scope. */
  async #groupsOf(owner: string): Promise<GroupLabels[]> {
    const { groups } = this.#context;
    const found: GroupLabels[] = [];
    for (const ns of await groups.namespaces()) {
      for (const group of await groups.groups(ns)) {
        const { state, times = [] } = (await this.#known.get(ns, group)) ?? {};
        if (state?.owner === owner && times.length > 0) found.push({ groupPath: groups.groupPath(ns, group), times });
      }
    }
    return found;
  }

  /** In the turn of the roots. */
  async #ended(record: SessionRecord, ended: readonly SessionRecord[], committed: boolean): Promise<void> {
    this.#backups.delete(record.session);
    for (const other of ended) {
      // Another session that adopted it may have ended it before.
      const place = this.#unfinished.indexOf(other);
      if (place >= 0) this.#unfinished.splice(place, 1);
      this.#leftovers.delete(other.session);
    }
    if (committed) return;
    this.#failed++;
    this.#unfinished.push(record);
    const { layout, locator, source, packs } = this.#context;
    const found = await findLeftovers(layout, new Set([record.session]), packs, locator, source);
    const entries = found.get(record.session);
    if (entries !== undefined) this.#leftovers.set(record.session, entries);
  }
}
