// Which space a session's objects go to: plain without a key, else the number of the group's owner and key, made durable when it is new.
import { setImmediate } from 'node:timers/promises';
import { PLAIN_SPACE } from '../../chunker/object.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import type { ObjectIndex } from '../index/object-index.ts';
import type { Layout } from '../layout.ts';
import type { GroupStore } from '../snapshots/group-store.ts';
import { readableManifest } from '../snapshots/readable-manifest.ts';
import { Spaces } from '../spaces.ts';

/** Entries that are looked at without a pause: some 20 ms. */
const SLICE_ENTRIES = 1 << 18;

interface SpaceRequest {
  readonly ns: Namespace;
  readonly group: GroupName;
  readonly owner: string;
  /** Of the key; undefined for space plain. */
  readonly fingerprint: string | undefined;
}

/**
 * The space of a new session; the holder asks for one at a time. A group that changed its owner keeps the space of its snapshots (rule S8).
 * @throws `datastore-damaged` when the file `spaces` cannot be relied on.
 */
export async function sessionSpace(
  store: { layout: Layout; groups: GroupStore; index: ObjectIndex },
  request: SpaceRequest,
): Promise<number> {
  const { owner, fingerprint } = request;
  if (fingerprint === undefined) return PLAIN_SPACE;
  const spaces = Spaces.load(store.layout);
  const known = (await spaceOfGroup(store.groups, request, fingerprint)) ?? spaces.find(owner, fingerprint);
  return known ?? (await spaces.add(owner, fingerprint, await highestSpace(store.index)));
}

/** The space of the group's newest snapshot of this key; undefined when it has none. */
async function spaceOfGroup(
  groups: GroupStore,
  { ns, group }: SpaceRequest,
  fingerprint: string,
): Promise<number | undefined> {
  for (const time of (await groups.times(ns, group)).reverse()) {
    const manifest = await readableManifest(groups, { ns, group, time });
    if (manifest?.client.key === fingerprint && manifest.server.space !== PLAIN_SPACE) return manifest.server.space;
  }
  return undefined;
}

/** The highest space of any record. */
async function highestSpace(index: ObjectIndex): Promise<number> {
  let highest = PLAIN_SPACE;
  for (let entry = 0; entry < index.entryLimit; entry++) {
    if (entry % SLICE_ENTRIES === SLICE_ENTRIES - 1) await setImmediate();
    highest = Math.max(highest, index.space(entry));
  }
  return highest;
}
