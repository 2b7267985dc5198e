// Groups and their snapshots as directories: listing, high-water marks, reading manifests, and the durable writing and removing of one.
// The order of a group is its sequence numbers; the directory name is only the label.

import { existsSync, renameSync } from 'node:fs';
import { opendir, rmdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Manifest } from '../../schema/manifest.ts';
import {
  formatTime,
  GROUP_TYPES,
  type GroupName,
  type Namespace,
  parseGroup,
  parseNamespace,
  parseTime,
} from '../../schema/names.ts';
import { GroupState } from '../../schema/state-files.ts';
import { readIfPresent, syncDirectory, writeFileAtomic, writeSynced } from '../../util/atomic-file.ts';
import type { DurableDirectories } from '../../util/durable-directories.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { parseStateFile } from '../../util/json-file.ts';
import { WorkSlices } from '../../util/work-slices.ts';
import type { Layout } from '../layout.ts';
import { encodeManifest, readManifest } from './manifest-file.ts';
import { MANIFEST, manifestPathIn } from './manifest-path.ts';

/** What may lie beside a manifest, and goes after it. */
const CLIENT_LOG = 'client.log.blob';
const BESIDE = [`${MANIFEST}.tmp`, CLIENT_LOG, `${CLIENT_LOG}.tmp`];
/** Names of a directory that are taken at once: of one with 100,000 none of its parts takes the event loop more than some 4 ms. */
const NAMES_AT_ONCE = 1024;

/** A snapshot by its place: namespace, group and label in Unix seconds. */
export interface SnapshotName {
  readonly ns: Namespace;
  readonly group: GroupName;
  readonly time: number;
}

/** `vm/101/2026-11-20T02:00:00Z`. */
export function snapshotLabel(name: SnapshotName): string {
  return `${name.group}/${formatTime(name.time)}`;
}

export class GroupStore {
  readonly #layout: Layout;
  readonly #directories: DurableDirectories;
  readonly #slices = new WorkSlices();

  constructor(layout: Layout, directories: DurableDirectories) {
    this.#layout = layout;
    this.#directories = directories;
  }

  groupPath(ns: Namespace, group: GroupName): string {
    const parts = ns === '' ? [] : ns.split('/').flatMap((part) => ['ns', part]);
    return join(this.#layout.snapshots, ...parts, ...group.split('/'));
  }

  namespacePath(ns: Namespace): string {
    return dirname(dirname(this.groupPath(ns, 'vm/x' as GroupName)));
  }

  manifestPath(name: SnapshotName): string {
    return manifestPathIn(this.groupPath(name.ns, name.group), name.time);
  }

  clientLogPath(name: SnapshotName): string {
    return join(dirname(this.manifestPath(name)), CLIENT_LOG);
  }

  /** The labels of a group's snapshots, oldest label first. */
  async times(ns: Namespace, group: GroupName): Promise<number[]> {
    return (await this.labels(ns, group)).times;
  }

  /**
   * The labels of a group's snapshots, oldest label first. A directory without a manifest is not a snapshot: `isSettled` says that there is
   * none, so that no snapshot appears without a change of the group's own directory.
   */
  async labels(ns: Namespace, group: GroupName): Promise<{ times: number[]; isSettled: boolean }> {
    const times: number[] = [];
    let isSettled = true;
    for await (const { time, isSnapshot } of this.#labelled(this.groupPath(ns, group))) {
      if (isSnapshot) times.push(time);
      else isSettled = false;
    }
    return { times: times.sort((a, b) => a - b), isSettled };
  }

  /** The manifest of a snapshot, undefined when there is none. @throws `manifest-altered`. */
  async manifest(name: SnapshotName): Promise<Manifest | undefined> {
    await this.#slices.next();
    return readManifest(this.manifestPath(name));
  }

  /** All groups of a namespace, in the order of their names. */
  async groups(ns: Namespace): Promise<GroupName[]> {
    const base = this.namespacePath(ns);
    const found: GroupName[] = [];
    for (const type of GROUP_TYPES) {
      for (const id of (await foldersIn(join(base, type))).sort()) {
        await this.#slices.next();
        const group = ifValid(() => parseGroup(`${type}/${id}`));
        if (group !== undefined) found.push(group);
      }
    }
    return found;
  }

  /** The root namespace and all below it. */
  async namespaces(under: Namespace = '' as Namespace): Promise<Namespace[]> {
    const base = join(this.namespacePath(under), 'ns');
    const found = [under];
    for (const part of (await foldersIn(base)).sort()) {
      const ns = ifValid(() => parseNamespace(under === '' ? part : `${under}/${part}`));
      if (ns !== undefined) found.push(...(await this.namespaces(ns)));
    }
    return found;
  }

  /** The group's owner and high-water marks, undefined for a new group. */
  async state(ns: Namespace, group: GroupName): Promise<GroupState | undefined> {
    const path = join(this.groupPath(ns, group), 'group.json');
    const text = await readIfPresent(path);
    return text === undefined ? undefined : parseStateFile(path, text, GroupState);
  }

  /** Makes the group's marks durable. They never go back (rule D8). */
  async writeState(ns: Namespace, group: GroupName, state: GroupState): Promise<void> {
    const path = this.groupPath(ns, group);
    await this.#directories.create(path);
    await writeFileAtomic(join(path, 'group.json'), `${JSON.stringify(state)}\n`);
    await this.#directories.sync(path);
  }

  /** Makes a namespace exist, durably. */
  async createNamespace(ns: Namespace): Promise<void> {
    const path = this.namespacePath(ns);
    await this.#directories.create(path);
    await this.#directories.sync(path);
  }

  /** Removes a namespace in which there are no snapshots and no namespaces, with the marks of groups that were there. */
  async removeNamespace(ns: Namespace): Promise<void> {
    const path = this.namespacePath(ns);
    for (const group of await this.groups(ns)) {
      await this.removeRemains(ns, group);
      for (const name of ['group.json', 'group.json.tmp'])
        await unlink(join(this.groupPath(ns, group), name)).catch(ignoreMissing);
      await this.#removeDirectory(this.groupPath(ns, group));
    }
    for (const folder of [...GROUP_TYPES, 'ns']) await this.#removeDirectory(join(path, folder));
    await this.#removeDirectory(path);
    await syncDirectory(dirname(path));
  }

  async #removeDirectory(path: string): Promise<void> {
    await rmdir(path).catch(ignoreMissing);
    this.#directories.forget(path);
  }

  /** Prepares a manifest: written and synced, not yet visible. Commits of a group follow each other. */
  async prepare(name: SnapshotName, manifest: Pick<Manifest, 'client' | 'server'>): Promise<PreparedManifest> {
    await this.removeRemains(name.ns, name.group);
    const path = this.manifestPath(name);
    await this.#directories.create(dirname(path));
    await writeSynced(`${path}.tmp`, encodeManifest(manifest.client, manifest.server));
    return new PreparedManifest(path, this.#directories);
  }

  /** Directories of snapshots that a crash kept from being made, or from being wholly removed. No commit of the group is under way. */
  async removeRemains(ns: Namespace, group: GroupName): Promise<void> {
    for await (const { directory, isSnapshot } of this.#labelled(this.groupPath(ns, group))) {
      if (isSnapshot) continue;
      await removeBeside(directory);
      this.#directories.forget(directory);
      await rmdir(directory).catch(() => undefined);
    }
  }

  /** Makes every removal of a snapshot in a group durable, whoever did it: one that was killed may have come only half way (rule D6). */
  async syncRemovals(ns: Namespace, group: GroupName): Promise<void> {
    const path = this.groupPath(ns, group);
    for await (const { directory, isSnapshot } of this.#labelled(path)) if (!isSnapshot) await syncRemoval(directory);
    await syncDirectory(path);
  }

  /** The directories of a group that are named like snapshots, with a look at each. */
  async *#labelled(groupPath: string): AsyncGenerator<{ directory: string; time: number; isSnapshot: boolean }> {
    for (const name of await foldersIn(groupPath)) {
      await this.#slices.next();
      const time = ifValid(() => parseTime(name));
      if (time === undefined || formatTime(time) !== name) continue;
      const directory = join(groupPath, name);
      yield { directory, time, isSnapshot: existsSync(join(directory, MANIFEST)) };
    }
  }

  /** Writes the server part of a manifest that exists. */
  async rewrite(name: SnapshotName, manifest: Pick<Manifest, 'client' | 'server'>): Promise<void> {
    await writeFileAtomic(this.manifestPath(name), encodeManifest(manifest.client, manifest.server));
  }

  /** Removes a snapshot. When this returns, the removal is durable. */
  async remove(name: SnapshotName): Promise<void> {
    const path = this.manifestPath(name);
    const directory = dirname(path);
    try {
      await unlink(path);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
      throw new HoldfastError('not-found', `there is no snapshot ${snapshotLabel(name)}; see: holdfast snapshot list`);
    }
    await syncRemoval(directory);
    await removeBeside(directory);
    this.#directories.forget(directory);
    // The empty directory is only tidiness: without a manifest it is not a snapshot.
    await rmdir(directory).catch(() => undefined);
  }
}

/** A manifest that needs only its rename. */
export class PreparedManifest {
  readonly path: string;
  readonly #directories: DurableDirectories;

  constructor(path: string, directories: DurableDirectories) {
    this.path = path;
    this.#directories = directories;
  }

  /** The commit point. Synchronous, so that nothing comes between the last check and the rename. */
  publish(): void {
    renameSync(`${this.path}.tmp`, this.path);
  }

  /** Makes the rename durable, with every ancestor. */
  async sync(): Promise<void> {
    await this.#directories.sync(dirname(this.path));
  }

  /** Takes back what was prepared or published; best effort, for a commit that failed. */
  async withdraw(): Promise<void> {
    for (const path of [this.path, `${this.path}.tmp`]) await unlink(path).catch(() => undefined);
    this.#directories.forget(dirname(this.path));
    await rmdir(dirname(this.path)).catch(() => undefined);
  }
}

/** Makes it durable that a snapshot's directory holds no manifest, or is gone: a commit of the group tidies up at the same time. */
async function syncRemoval(directory: string): Promise<void> {
  try {
    await syncDirectory(directory);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
    await syncDirectory(dirname(directory));
  }
}

/** Without a manifest all of it is tidiness. */
async function removeBeside(directory: string): Promise<void> {
  for (const name of BESIDE) await unlink(join(directory, name)).catch(() => undefined);
}

function ignoreMissing(error: unknown): void {
  if (systemCode(error) !== 'ENOENT') throw error;
}

/** What a name stands for; undefined for one that is not ours: a stray file must not hide every snapshot. */
function ifValid<Name>(parse: () => Name): Name | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof HoldfastError) return undefined;
    throw error;
  }
}

/** The names of directories, and of links that may lead to some; none when `path` is not there. */
async function foldersIn(path: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of await opendir(path, { bufferSize: NAMES_AT_ONCE }))
      if (entry.isDirectory() || entry.isSymbolicLink()) names.push(entry.name);
    return names;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}
