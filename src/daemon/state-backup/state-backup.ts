// The server backs up its own state into one of its datastores: every day, and when it ends, if anything changed since the last time or that is
// a day ago. What goes wrong is a warning and a figure; it keeps the server from nothing.
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import type { Tasks } from '../../jobs/tasks/tasks.ts';
import { ROOT_USER } from '../../schema/auth-id.ts';
import { type GroupName, parseNamespace } from '../../schema/names.ts';
import { readIfPresent, writeFileAtomic } from '../../util/atomic-file.ts';
import { HoldfastError } from '../../util/errors.ts';
import { parseJson } from '../../util/json-file.ts';
import type { Log } from '../log.ts';
import type { Datastores } from '../stores.ts';
import { type GatheredState, gatherState, STATE_BACKUP_TASK, type StateParts } from './gather-state.ts';
import { stateGroupOf } from './state-snapshot.ts';
import { pruneState, storeState } from './store-state.ts';

const DAY_MS = 24 * 3600 * 1000;
/** How often to look whether a day is over, or a backup that failed is to be tried again. */
const LOOK_EVERY_MS = 3600 * 1000;
/** A server that has just started has better things to do, and its administrator may still be changing things. */
const FIRST_LOOK_MS = 5 * 60 * 1000;
/** The longest that a backup may take. */
const TIMEOUT_MS = 10 * 60 * 1000;

const Last = Type.Object({
  datastore: Type.String(),
  /** Of the snapshot, in Unix seconds. */
  time: Type.Integer(),
  digest: Type.String(),
});
type Last = Static<typeof Last>;

export interface StateBackupParts extends Pick<StateParts, 'state'> {
  /** Where copies lie meanwhile, and what is known of the last backup: a directory of its own, in the state directory. */
  readonly directory: string;
  /** Undefined: the first datastore. Null: no backups. */
  readonly datastore: string | null | undefined;
  readonly datastores: Pick<Datastores, 'list' | 'get'>;
  readonly tasks: Pick<Tasks, 'start'>;
  readonly node: string;
  readonly certificate: () => StateParts['certificate'];
  readonly describe: () => Pick<StateParts['about'], 'stateDirectory' | 'configFile'>;
  readonly log: Pick<Log, 'warn' | 'info'>;
  /** Unix milliseconds. */
  readonly clock: () => number;
}

export interface StateBackupFigures {
  /** When the last good one was made, in Unix seconds; 0 for never. */
  readonly lastSeconds: number;
  readonly hasFailed: boolean;
}

export class StateBackup {
  readonly #parts: StateBackupParts;
  readonly #group: GroupName;
  readonly #stop = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #figures: StateBackupFigures = { lastSeconds: 0, hasFailed: false };
  /** When the state was last known to be in a snapshot. */
  #goodMs = 0;

  constructor(parts: StateBackupParts) {
    this.#parts = parts;
    this.#group = stateGroupOf(parts.node);
  }

  get figures(): StateBackupFigures {
    return this.#figures;
  }

  /** Begins to look every hour. */
  async start(): Promise<void> {
    const last = await this.#last();
    if (last !== undefined) {
      this.#figures = { lastSeconds: last.time, hasFailed: false };
      this.#goodMs = last.time * 1000;
    }
    this.#lookIn(FIRST_LOOK_MS);
  }

  /** Backs up what changed, and after a day what did not, and waits for it. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    // A backup that runs may have missed what changed a moment ago.
    while (this.#running !== undefined && !signal.aborted) await Promise.race([this.#running, once(signal, 'abort')]);
    if (signal.aborted) return;
    this.#running = this.#runOnce(AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)])).finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  /** Looks no more, and stops what runs. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#stop.abort(new HoldfastError('aborted', 'the server is stopping'));
    await this.#running;
  }

  #lookIn(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#look().catch((error: unknown) => this.#parts.log.warn({ err: error }, 'this is a bug in Holdfast'));
    }, ms).unref();
  }

  async #look(): Promise<void> {
    // A clock that was set back must not put it off for long either.
    if (Math.abs(this.#parts.clock() - this.#goodMs) >= DAY_MS) await this.run(this.#stop.signal);
    if (!this.#stop.signal.aborted) this.#lookIn(LOOK_EVERY_MS);
  }

  async #runOnce(signal: AbortSignal): Promise<void> {
    const { datastore, datastores, log, directory } = this.#parts;
    const staging = join(directory, 'files');
    try {
      const name = datastore === undefined ? datastores.list()[0]?.name : datastore;
      if (name === undefined || name === null) return;
      const gathered = await gatherState(staging, this.#content(), signal);
      if (await this.#isStored(name, gathered.digest)) {
        this.#good(this.#figures.lastSeconds);
        return;
      }
      this.#good(await this.#storeAsTask(name, gathered, signal));
    } catch (error) {
      this.#figures = { ...this.#figures, hasFailed: true };
      log.warn({ err: error }, "the server's own state could not be backed up");
    } finally {
      await rm(staging, { recursive: true, force: true }).catch(() => undefined);
    }
  }

  #content(): StateParts {
    const { state, certificate, describe, node, clock } = this.#parts;
    const created = new Date(clock()).toISOString();
    return { state, certificate: certificate(), about: { format: 1, node, created, ...describe() } };
  }

  #good(lastSeconds: number): void {
    this.#goodMs = this.#parts.clock();
    this.#figures = { lastSeconds, hasFailed: false };
  }

  async #storeAsTask(name: string, { archives, digest }: GatheredState, signal: AbortSignal): Promise<number> {
    const { tasks, datastores, log } = this.#parts;
    let time = 0;
    const request = { type: STATE_BACKUP_TASK, id: name, authId: ROOT_USER };
    const { done, upid } = tasks.start(request, async (work) => {
      const task = { ...work, signal: AbortSignal.any([work.signal, signal]) };
      const open = await datastores.get(name);
      time = await storeState(open, this.#group, archives, task);
      task.log(`the state is in ${this.#group} of ${name}`);
      await writeFileAtomic(this.#lastPath, `${JSON.stringify({ datastore: name, time, digest } satisfies Last)}\n`);
      // The snapshot is there; that an old one is too is no failure of it.
      await pruneState(open, this.#group, task).catch((error: Error) => {
        task.signal.throwIfAborted();
        task.warn(`old snapshots stay: ${error.message}`);
      });
    });
    const { outcome, status, error } = await done;
    if (outcome === 'error' || outcome === 'unknown')
      throw error ?? new HoldfastError('task-failed', `${upid}: ${status}`);
    log.info({ datastore: name, upid }, "the server's own state was backed up");
    return time;
  }

  /** Whether the last snapshot holds this very state, and is still there. One that is old would raise the alarm of a group without backups. */
  async #isStored(datastore: string, digest: string): Promise<boolean> {
    const last = await this.#last();
    if (last === undefined || last.digest !== digest || last.datastore !== datastore) return false;
    if (this.#parts.clock() - last.time * 1000 >= DAY_MS) return false;
    const { store } = await this.#parts.datastores.get(datastore);
    return (await store.groups.times(parseNamespace(''), this.#group)).includes(last.time);
  }

  get #lastPath(): string {
    return join(this.#parts.directory, 'last.json');
  }

  /** A file that cannot be read only means a backup more. */
  async #last(): Promise<Last | undefined> {
    try {
      const text = await readIfPresent(this.#lastPath);
      return text === undefined ? undefined : parseJson(text, Last);
    } catch {
      return undefined;
    }
  }
}
