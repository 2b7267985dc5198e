// qm listsnapshot: the snapshots that a configuration has.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { ConfigSection, VmConfig } from '../config/vm-config.ts';

export interface ListedSnapshot {
  readonly name: string;
  readonly description: string | undefined;
  readonly parent: string | undefined;
  /** Unix seconds. */
  readonly time: number;
  /** False for one that was cut off while it was made or deleted. */
  readonly isWhole: boolean;
}

/** Oldest first. */
export function listSnapshots({ snapshots }: Pick<VmConfig, 'snapshots'>): ListedSnapshot[] {
  const listed = [...snapshots].map(([name, { values, description }]) => ({
    name,
    description,
    parent: values.get('parent'),
    time: Number(values.get('snaptime') ?? 0),
    isWhole: !values.has('snapstate'),
  }));
  return listed.sort((a, b) => a.time - b.time || (a.name < b.name ? -1 : 1));
}

/** The configuration as it was then. @throws `not-found`. */
export function requireSnapshot(id: GuestId, { snapshots }: Pick<VmConfig, 'snapshots'>, name: string): ConfigSection {
  const section = snapshots.get(name);
  if (section !== undefined) return section;
  throw new HoldfastError('not-found', `VM ${id} has no snapshot '${name}'`, { data: { vmid: id } });
}
