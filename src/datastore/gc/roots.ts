// Where everything that must stay begins: manifests, scopes and puts of open sessions, leftovers of unfinished ones, and manifests whose
// removal may not be durable (rules D6, S2, S3). Taken in one step that nothing else may run beside (rule G1).
import type { Manifest } from '../../schema/manifest.ts';
import type { EntrySet } from '../index/entry-set.ts';
import type { ObjectIndex } from '../index/object-index.ts';
import type { SessionMarks } from '../sessions/session-marks.ts';
import type { GroupStore } from '../snapshots/group-store.ts';
import type { Root } from './walk.ts';

export type { Root } from './walk.ts';

export function rootsOf(manifest: Manifest): Root[] {
  return manifest.client.archives.map(({ root }) => ({ space: manifest.server.space, id: Buffer.from(root, 'hex') }));
}

function rootsAt(index: ObjectIndex, entries: Uint32Array): Root[] {
  return Array.from(entries, (entry) => ({ space: index.space(entry), id: index.id(entry) }));
}

/** An open session as garbage collection sees it. */
export interface RootSession {
  readonly marks: SessionMarks;
  readonly scopeRoots: readonly Root[];
  /** Index entries of what it adopted: the sessions that left it may have ended since, by another one's commit. */
  readonly adopted: readonly Uint32Array[];
}

export interface RootSources {
  readonly groups: GroupStore;
  readonly index: ObjectIndex;
  readonly sessions: Iterable<RootSession>;
  /** Index entries of what unfinished sessions left. */
  readonly leftovers: Iterable<Uint32Array>;
  readonly withdrawn: readonly Root[];
}

/**
 * Takes all roots, each once, and marks what open sessions put. Removals are made durable first: a manifest that could come back after
 * a power cut would miss its objects.
 * @throws `manifest-altered` for a manifest whose roots cannot be known: nothing may be deleted then.
 */
export async function takeRoots(sources: RootSources, live: EntrySet): Promise<Root[]> {
  const { groups, index } = sources;
  const roots = new Map<string, Root>();
  const add = (found: readonly Root[]): void => {
    for (const root of found) roots.set(`${root.space}:${Buffer.from(root.id).toString('hex')}`, root);
  };
  for (const ns of await groups.namespaces()) {
    for (const group of await groups.groups(ns)) {
      await groups.syncRemovals(ns, group);
      for (const time of await groups.times(ns, group)) {
        const manifest = await groups.manifest({ ns, group, time });
        if (manifest !== undefined) add(rootsOf(manifest));
      }
    }
  }
  add(sources.withdrawn);
  for (const session of sources.sessions) {
    add(session.scopeRoots);
    for (const entries of session.adopted) add(rootsAt(index, entries));
    live.addAll(session.marks.puts, index.entryLimit);
  }
  for (const entries of sources.leftovers) add(rootsAt(index, entries));
  return [...roots.values()];
}
