// Changes of groups and namespaces, and what is put beside manifests, each in the turn of the roots: none overlaps the opening of a session or the removal of a snapshot.
import { existsSync } from 'node:fs';
import type { GroupName, Namespace } from '../../schema/names.ts';
import type { GroupState } from '../../schema/state-files.ts';
import { writeFileAtomic } from '../../util/atomic-file.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { Turn } from '../../util/turn.ts';
import { isHeld, settled } from '../anomaly/watch-commit.ts';
import { describingRootErrors } from '../config.ts';
import type { Layout } from '../layout.ts';
import { requireWritable } from '../limits/maintenance.ts';
import { changeServerPart } from './change-server-part.ts';
import { type GroupStore, type SnapshotName, snapshotLabel } from './group-store.ts';
import { readableManifest } from './readable-manifest.ts';

export interface GroupChange {
  readonly owner?: string;
  readonly notes?: string;
}

export interface KeepingContext {
  readonly layout: Layout;
  readonly groups: GroupStore;
  readonly rootTurn: Turn;
  /** Those that are open: whether one is to make a snapshot of a group, or of any group of a namespace. */
  readonly sessions: {
    readonly backups: Iterable<{ isOf(ns: Namespace, group: GroupName | undefined): boolean }>;
  };
}

export class GroupKeeping {
  readonly #context: KeepingContext;

  constructor(context: KeepingContext) {
    this.#context = context;
  }

  /** @throws `not-found`, `datastore-locked` while a backup of the group runs, `datastore-maintenance`. */
  async changeGroup(ns: Namespace, group: GroupName, { owner, notes }: GroupChange): Promise<void> {
    await this.#inTurn('changing groups', async () => {
      const state = await this.#stateOf(ns, group);
      // A commit writes the whole state: what changes beside it would be lost.
      this.#requireIdle(ns, group);
      await this.#context.groups.writeState(ns, group, {
        ...state,
        ...(owner === undefined ? {} : { owner }),
        ...(notes === undefined ? {} : { notes }),
      });
    });
  }

  /**
   * Takes owner and notes from a group without snapshots, so that it is as good as gone; its marks stay (rule D8).
   * @throws `not-found`, `exists` when it has snapshots, `datastore-locked` while a backup of it runs, `datastore-maintenance`.
   */
  async releaseGroup(ns: Namespace, group: GroupName): Promise<void> {
    await this.#inTurn('removing groups', async () => {
      const { format, lastSequence, lastTime } = await this.#stateOf(ns, group);
      this.#requireIdle(ns, group);
      if ((await this.#context.groups.times(ns, group)).length > 0)
        throw new HoldfastError('exists', `group ${group} has snapshots; forget them first`);
      await this.#context.groups.removeRemains(ns, group);
      await this.#context.groups.writeState(ns, group, { format, owner: '', lastSequence, lastTime });
    });
  }

  /**
   * Settles the anomaly of a group: it is pruned again. Without an attack what was unusual is usual from now on, and what the anomaly has
   * protected is so no more; after one all of that is protected. Returns the labels of what is protected no more.
   * @throws `not-found`, `datastore-locked` while a backup of the group runs, `datastore-maintenance`.
   */
  async clearAnomaly(ns: Namespace, group: GroupName, wasAttack: boolean): Promise<readonly number[]> {
    const { groups } = this.#context;
    const unprotected: number[] = [];
    await this.#inTurn('changing groups', async () => {
      const state = await this.#stateOf(ns, group);
      if (!isHeld(state))
        throw new HoldfastError('not-found', `nothing unusual is noted of ${group}; see: holdfast anomaly list`);
      this.#requireIdle(ns, group);
      // The hold goes last: when this ends halfway it can be done again.
      for (const time of state.anomaly.protected) {
        const manifest = await readableManifest(groups, { ns, group, time });
        // Also of an attack: when the hold was made, the disk may have failed or the power.
        if (manifest === undefined || manifest.server.protected === wasAttack) continue;
        await changeServerPart(groups, { ns, group, time }, () => ({ protected: wasAttack }));
        if (!wasAttack) unprotected.push(time);
      }
      await groups.writeState(ns, group, settled(state, wasAttack));
    });
    return unprotected;
  }

  /** Makes a namespace; one that is there stays as it is. @throws `not-found` without its parent, `datastore-maintenance`. */
  async createNamespace(ns: Namespace): Promise<void> {
    await this.#inTurn('making namespaces', async () => {
      const parent = ns.split('/').slice(0, -1).join('/') as Namespace;
      if (!(await this.#context.groups.namespaces()).includes(parent))
        throw new HoldfastError('not-found', `there is no namespace ${parent}; make it first`);
      await this.#context.groups.createNamespace(ns);
    });
  }

  /**
   * Removes a namespace without snapshots and without namespaces below it. @throws `bad-argument` for the root, `exists` when there is
   * something in it, `datastore-locked` while a backup into it runs, `datastore-maintenance`.
   */
  async removeNamespace(ns: Namespace): Promise<void> {
    if (ns === '') throw new HoldfastError('bad-argument', 'the root namespace cannot be removed');
    await this.#inTurn('removing namespaces', async () => {
      if ((await this.#context.groups.namespaces(ns)).length > 1)
        throw new HoldfastError('exists', `there are namespaces below ${ns}; remove them first`);
      this.#requireIdle(ns, undefined);
      for (const group of await this.#context.groups.groups(ns)) {
        if ((await this.#context.groups.times(ns, group)).length > 0)
          throw new HoldfastError('exists', `namespace ${ns} has snapshots of ${group}; forget them first`);
      }
      await this.#context.groups.removeNamespace(ns);
    });
  }

  /**
   * Puts a client's log beside the manifest of its snapshot: once, for nobody is to change what it says.
   * @throws `not-found`, `manifest-altered`, `exists` when there is one, `datastore-maintenance`.
   */
  async addClientLog(name: SnapshotName, blob: Uint8Array): Promise<void> {
    await this.#inTurn('changing snapshots', async () => {
      const { groups } = this.#context;
      if ((await groups.manifest(name)) === undefined)
        throw new HoldfastError('not-found', `there is no snapshot ${snapshotLabel(name)}`);
      const path = groups.clientLogPath(name);
      if (existsSync(path)) throw new HoldfastError('exists', `${snapshotLabel(name)} has a log already`);
      await writeFileAtomic(path, blob);
    });
  }

  async #inTurn(what: string, work: () => Promise<void>): Promise<void> {
    const { layout, rootTurn } = this.#context;
    await requireWritable(layout, what);
    await rootTurn.run(() => describingRootErrors(layout.root, work));
  }

  async #stateOf(ns: Namespace, group: GroupName): Promise<GroupState> {
    const state = await this.#context.groups.state(ns, group);
    if (state === undefined) throw new HoldfastError('not-found', `there is no group ${group}`);
    return state;
  }

  #requireIdle(ns: Namespace, group: GroupName | undefined): void {
    if (![...this.#context.sessions.backups].some((session) => session.isOf(ns, group))) return;
    const what = group === undefined ? `into namespace ${ns}` : `of ${group}`;
    throw new HoldfastError('datastore-locked', `a backup ${what} is running; wait for its end`);
  }
}
