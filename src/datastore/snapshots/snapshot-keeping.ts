// Changes of snapshots that are there: forgetting, notes, protection, locks. Each in the turn of the roots: two must not undo each other, and
// none may bring back a manifest that is being forgotten.
import type { Manifest } from '../../schema/manifest.ts';
import type { DatastoreConfig } from '../../schema/state-files.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { Turn } from '../../util/turn.ts';
import { refuseHeld } from '../anomaly/refuse-held.ts';
import { isHeld } from '../anomaly/watch-commit.ts';
import { describingRootErrors } from '../config.ts';
import { type Root, rootsOf } from '../gc/roots.ts';
import type { Layout } from '../layout.ts';
import { requireWritable } from '../limits/maintenance.ts';
import type { StoreClock } from '../store-clock.ts';
import { changeServerPart } from './change-server-part.ts';
import { type GroupStore, type SnapshotName, snapshotLabel } from './group-store.ts';
import { extendedLock, maxLockMs, refuseLocked, remainingLockMs } from './retention-lock.ts';

export interface SnapshotKeepingContext {
  readonly layout: Layout;
  readonly config: DatastoreConfig;
  readonly groups: GroupStore;
  readonly rootTurn: Turn;
  readonly clock: StoreClock;
  /** Those that are open, told of a snapshot before it goes: what they may still name goes only when they have ended (rule S3). */
  readonly sessions: { keepForgotten(name: SnapshotName, roots: readonly Root[]): Promise<void> };
}

type ServerPart = Manifest['server'];

export class SnapshotKeeping {
  readonly #context: SnapshotKeepingContext;

  constructor(context: SnapshotKeepingContext) {
    this.#context = context;
  }

  /**
   * Removes a snapshot; its removal is durable when this returns.
   * @throws `not-found`, `protected`, `retention-locked`, `datastore-maintenance`.
   */
  async forget(name: SnapshotName): Promise<void> {
    await this.#context.rootTurn.run(() => this.#forgetInTurn(name, true));
  }

  /**
   * As `forget`, but nothing of a group that is held, and nothing that cannot be read. In one turn: a commit may come to hold it meanwhile.
   * Returns whether it is gone.
   * @throws as `forget`, `manifest-altered`.
   */
  async forgetUnlessHeld(name: SnapshotName): Promise<boolean> {
    return await this.#context.rootTurn.run(async () => {
      if (isHeld(await this.#context.groups.state(name.ns, name.group))) return false;
      await this.#forgetInTurn(name, false);
      return true;
    });
  }

  async #forgetInTurn(name: SnapshotName, alsoUnreadable: boolean): Promise<void> {
    const { layout, groups, clock, sessions } = this.#context;
    await requireWritable(layout, 'forgetting snapshots');
    let manifest: Manifest | undefined;
    try {
      manifest = await groups.manifest(name);
    } catch (error) {
      // A manifest that cannot be read protects nothing any more; forgetting it is the way out.
      if (!alsoUnreadable || !(error instanceof HoldfastError) || error.code !== 'manifest-altered') throw error;
    }
    if (manifest !== undefined) refuseLocked(snapshotLabel(name), manifest.server, clock.elapsedMs);
    if (manifest?.server.protected) {
      throw new HoldfastError(
        'protected',
        `${snapshotLabel(name)} is protected; remove the protection first: holdfast snapshot protect ${snapshotLabel(name)} --off`,
      );
    }
    if (manifest !== undefined) await sessions.keepForgotten(name, rootsOf(manifest));
    await describingRootErrors(layout.root, () => groups.remove(name));
  }

  /**
   * Changes notes or protection of a snapshot. `mayClear`: for somebody who may settle anomalies.
   * @throws `not-found`, `manifest-altered`, `datastore-maintenance`, `protected` when others want to end a protection that an anomaly needs.
   */
  async update(
    name: SnapshotName,
    change: { notes?: string; protected?: boolean },
    mayClear: boolean,
  ): Promise<Manifest> {
    // Member by member: a request of another process must not reach the lock, or anything else, through here.
    const { notes, protected: isProtected } = change;
    return await this.#changeServerPart(name, async (before) => {
      if (before.protected && isProtected === false && !mayClear)
        refuseHeld(name, await this.#context.groups.state(name.ns, name.group));
      return {
        ...(notes === undefined ? {} : { notes }),
        ...(isProtected === undefined ? {} : { protected: isProtected }),
      };
    });
  }

  /**
   * Locks a snapshot for `forMs` from now, by the store clock: nothing removes it before, and nothing takes the lock back.
   * @throws `not-found`, `manifest-altered`, `bad-argument`, `too-large` beyond the datastore's policy, `retention-locked` when it is
   * locked for longer already, `datastore-maintenance`.
   */
  async lock(name: SnapshotName, forMs: number): Promise<{ lockedUntilClockMs: number; remainingMs: number }> {
    const { layout, config, clock } = this.#context;
    const { server } = await this.#changeServerPart(name, async (before) => {
      // Durable first: after a crash that sets the clock back, the same wish must not end before the lock that it has made.
      const clockMs = await describingRootErrors(layout.root, () => clock.persist());
      const maxMs = maxLockMs(config);
      return { lockedUntilClockMs: extendedLock(snapshotLabel(name), before, forMs, { clockMs, maxMs }) };
    });
    return {
      lockedUntilClockMs: server.lockedUntilClockMs ?? 0,
      remainingMs: remainingLockMs(server, clock.elapsedMs),
    };
  }

  async #changeServerPart(
    name: SnapshotName,
    change: (before: ServerPart) => Partial<ServerPart> | Promise<Partial<ServerPart>>,
  ): Promise<Manifest> {
    const { layout, groups, rootTurn } = this.#context;
    await requireWritable(layout, 'changing snapshots');
    return await rootTurn.run(() => describingRootErrors(layout.root, () => changeServerPart(groups, name, change)));
  }
}
