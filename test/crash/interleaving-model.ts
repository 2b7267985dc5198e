// What the interleavings know of the store: groups and their owners, snapshots that must be there, sessions and what they may name.
import type { BackupSession } from '../../src/datastore/sessions/backup-session.ts';
import type { SnapshotName } from '../../src/datastore/snapshots/group-store.ts';

/** By group its owner: two share what they may name, one is alone. */
export const GROUPS = { 'vm/1': 'root@pam', 'vm/2': 'root@pam', 'vm/3': 'other@pam' } as const;
export type Group = keyof typeof GROUPS;

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
  readonly owner: string;
  readonly contents: readonly number[];
  state: 'there' | 'going';
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
