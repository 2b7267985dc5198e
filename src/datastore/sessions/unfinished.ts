// Which sessions an earlier process left unfinished (rule S1).
import type { GroupName, Namespace } from '../../schema/names.ts';
import type { SessionRecord } from '../../schema/state-files.ts';
import type { Layout } from '../layout.ts';
import type { GroupStore } from '../snapshots/group-store.ts';
import { readableManifest } from '../snapshots/readable-manifest.ts';
import type { StoreClock } from '../store-clock.ts';
import { readSessionFiles, removeSessionFiles, UNFINISHED_LIFETIME_MS } from './session-files.ts';

/** Sessions with a file and without a manifest; files of committed and of expired ones are removed. */
export async function unfinishedSessions(
  layout: Layout,
  groups: GroupStore,
  clock: StoreClock,
): Promise<SessionRecord[]> {
  const unfinished: SessionRecord[] = [];
  const ended: string[] = [];
  for (const record of await readSessionFiles(layout)) {
    const expired = clock.elapsedMs - record.openedClockMs > UNFINISHED_LIFETIME_MS;
    if (expired || (await hasManifest(groups, record))) ended.push(record.session);
    else unfinished.push(record);
  }
  await removeSessionFiles(layout, ended);
  return unfinished;
}

async function hasManifest(groups: GroupStore, record: SessionRecord): Promise<boolean> {
  const ns = record.ns as Namespace;
  const group = record.group as GroupName;
  for (const time of (await groups.times(ns, group)).reverse()) {
    // Which session made one that is altered is unknown, so this one stays unfinished: that keeps more, never less.
    if ((await readableManifest(groups, { ns, group, time }))?.server.session === record.session) return true;
  }
  return false;
}
