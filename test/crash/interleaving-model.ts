// What the interleavings know of the store: groups and their owners, snapshots that must be there, sessions and what they may name.
import { type DataKey, deriveDataKey } from '../../src/chunker/data-key.ts';
import type { BackupSession } from '../../src/datastore/sessions/backup-session.ts';
import type { SnapshotName } from '../../src/datastore/snapshots/group-store.ts';

const KEY = deriveDataKey(Buffer.alloc(32, 1));

/** By group its owner, and the key of its sessions: plain and encrypted two share what they may name, and one is alone. */
export const GROUPS = {
  'vm/1': { owner: 'root@pam', key: undefined },
  'vm/2': { owner: 'root@pam', key: undefined },
  'vm/3': { owner: 'other@pam', key: undefined },
  'vm/4': { owner: 'root@pam', key: KEY },
  'vm/5': { owner: 'root@pam', key: KEY },
  'vm/6': { owner: 'other@pam', key: KEY },
} as const satisfies Record<string, { owner: string; key: DataKey | undefined }>;
export type Group = keyof typeof GROUPS;

/** Groups that may name what each other's snapshots hold have the same scope. */
export const scopeOf = (group: Group): string => `${GROUPS[group].owner} ${GROUPS[group].key?.fingerprint ?? 'plain'}`;

export interface InterleavingPlan {
  readonly seed: number;
  readonly steps: number;
  /** Damages records as it goes; without it every failure is a finding. */
  readonly damages: boolean;
}

export interface InterleavingReport {
  /** How often what was done: so that a run that did nothing does not pass for a good one. */
  readonly done: Readonly<Record<string, number>>;
}

export interface Snapshot {
  readonly name: SnapshotName;
  readonly group: Group;
  readonly contents: readonly number[];
  state: 'there' | 'going';
}

/** Those that are there and have a newer one in their group. */
export function notNewest(snapshots: readonly Snapshot[]): Snapshot[] {
  const there = snapshots.filter(({ state }) => state === 'there');
  return there.filter((each) => there.some(({ group, name }) => group === each.group && name.time > each.name.time));
}

export interface OpenSession {
  readonly session: BackupSession;
  readonly group: Group;
  /** What it may name without putting it: contents of its owner's snapshots that were there when it opened, and of leftovers. */
  readonly inScope: readonly number[];
  /** Leftovers that its commit ends. */
  readonly adopted: readonly number[];
  readonly put: Set<number>;
  /** Of those what nobody had put before. */
  readonly fresh: Set<number>;
  readonly puts: Promise<unknown>[];
  isEnding: boolean;
}
