// Small files of a store that cannot be read any more, made anew from what else is there: from packs, from manifests, or empty where
// that only costs time. Runs under the holder's lock before the store is opened, which such a file would prevent.
import { closeSync } from 'node:fs';
import { readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { TSchema } from 'typebox';
import type { Manifest } from '../../schema/manifest.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import {
  type Anomaly,
  GroupState,
  HolderRecord,
  Quarantine,
  SessionRecord,
  StoreClockState,
} from '../../schema/state-files.ts';
import { readIfPresent, syncDirectory, writeFileAtomic } from '../../util/atomic-file.ts';
import { DurableDirectories } from '../../util/durable-directories.ts';
import { JsonShapeError, parseJson } from '../../util/json-file.ts';
import type { Layout } from '../layout.ts';
import { holdersPackFiles, openFirst } from '../packs/pack-files.ts';
import { readPackHeader } from '../packs/pack-scan.ts';
import { GroupStore } from '../snapshots/group-store.ts';
import { readableManifest } from '../snapshots/readable-manifest.ts';
import { rebuildSpaces } from './repair-spaces.ts';

export interface RepairedFile {
  /** Path within the datastore. */
  readonly file: string;
  readonly action: string;
}

/** Beyond the highest epoch that is seen: one that left no pack may have been used too. */
const EPOCH_MARGIN = 1000;

/** Finds damaged state files and, unless this is a dry run, replaces them; what was there stays beside as `NAME.damaged`. */
export async function repairStateFiles(layout: Layout, dryRun: boolean): Promise<RepairedFile[]> {
  const repaired: RepairedFile[] = [];
  const mend = async (path: string, action: string, replace: () => Promise<void>): Promise<void> => {
    repaired.push({ file: path.slice(layout.root.length + 1), action });
    if (dryRun) return;
    if ((await readIfPresent(path)) !== undefined) await rename(path, `${path}.damaged`);
    await replace();
  };
  if (await isDamaged(layout.holder, HolderRecord)) {
    const epoch = highestEpoch(layout) + EPOCH_MARGIN;
    const record: HolderRecord = { epoch, pid: 0, host: '', started: '' };
    await mend(layout.holder, `written anew with epoch ${epoch}, above all packs`, () =>
      writeJson(layout.holder, record),
    );
  }
  if (await isDamaged(layout.quarantine, Quarantine))
    await mend(layout.quarantine, 'emptied: the verification finds again what is bad', () =>
      writeJson(layout.quarantine, { copies: [] } satisfies Quarantine),
    );
  if (await isDamaged(layout.clock, StoreClockState))
    await mend(layout.clock, 'set to 0: locks and leftovers last longer', () =>
      writeJson(layout.clock, { elapsedMs: 0 } satisfies StoreClockState),
    );
  for (const name of await readdir(layout.sessions)) {
    const path = join(layout.sessions, name);
    if (!/^[0-9a-f]{32}\.json$/.test(name) || !(await isDamaged(path, SessionRecord))) continue;
    await mend(path, 'removed: what that backup had stored is no longer found by a retry', () =>
      syncDirectory(layout.sessions),
    );
  }
  const manifests = await repairGroups(layout, mend);
  const spaces = rebuildSpaces(layout, manifests);
  if (spaces !== undefined) await mend(layout.spaces, spaces.action, () => writeFileAtomic(layout.spaces, spaces.text));
  return repaired;
}

type Mend = (path: string, action: string, replace: () => Promise<void>) => Promise<void>;

/** Owner and high-water marks of groups whose `group.json` is damaged or gone, from their manifests; returns all that can be read. */
async function repairGroups(layout: Layout, mend: Mend): Promise<Manifest[]> {
  const all: Manifest[] = [];
  const groups = new GroupStore(layout, new DurableDirectories(layout.root));
  for (const ns of await groups.namespaces()) {
    for (const group of await groups.groups(ns)) {
      const path = join(groups.groupPath(ns, group), 'group.json');
      const manifests = await readableManifests(groups, ns, group);
      all.push(...manifests);
      const isGone = (await readIfPresent(path)) === undefined;
      if (!isGone && !(await isDamaged(path, GroupState))) continue;
      const newest = manifests.at(-1);
      if (newest === undefined) {
        // Without a snapshot a group has no marks to lose but its numbers, which begin anew.
        if (!isGone) await mend(path, 'removed: the group has no snapshot, and begins anew', async () => {});
        continue;
      }
      const times = await groups.times(ns, group);
      const state: GroupState = {
        format: 1,
        owner: newest.server.owner,
        lastSequence: Math.max(...manifests.map(({ server }) => server.sequence)),
        lastTime: Math.max(...times),
      };
      const isHeld = manifests.some(({ server }) => server.protected);
      const held = isHeld ? { ...state, anomaly: unknownHold(state.lastTime) } : state;
      const action = `written anew from ${manifests.length} manifests${isHeld ? '; held until somebody has looked (holdfast anomaly list): it has protected snapshots' : ''}`;
      await mend(path, action, () => writeJson(path, held));
    }
  }
  return all;
}

/** Who protected a snapshot nobody knows any more: it may have been the watch, and then pruning must not go on by itself. */
function unknownHold(lastTime: number): Anomaly {
  const nothing = { bytesNew: 0, bytesStored: 0 };
  return { time: lastTime, added: nothing, usual: { bytesNew: 0, ratio: 0 }, score: 0, cause: 'repair', protected: [] };
}

async function readableManifests(groups: GroupStore, ns: Namespace, group: GroupName): Promise<Manifest[]> {
  const found: Manifest[] = [];
  for (const time of await groups.times(ns, group)) {
    const manifest = await readableManifest(groups, { ns, group, time });
    if (manifest !== undefined) found.push(manifest);
  }
  return found;
}

/** Whether the file is there and is not what it should be. */
async function isDamaged(path: string, schema: TSchema): Promise<boolean> {
  const text = await readIfPresent(path);
  if (text === undefined) return false;
  try {
    parseJson(text, schema);
    return false;
  } catch (error) {
    if (!(error instanceof JsonShapeError)) throw error;
    return true;
  }
}

function highestEpoch(layout: Layout): number {
  const { sealed, open } = holdersPackFiles(layout);
  let highest = 0;
  for (const packId of [...sealed, ...open]) {
    const fd = openFirst([layout.sealedPack(packId), layout.openPack(packId)]);
    if (fd === undefined) continue;
    try {
      highest = Math.max(highest, readPackHeader(fd)?.epoch ?? 0);
    } finally {
      closeSync(fd);
    }
  }
  return highest;
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFileAtomic(path, `${JSON.stringify(value)}\n`);
}
