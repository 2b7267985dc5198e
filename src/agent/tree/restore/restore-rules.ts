// What a restore into a directory is told by its user, and what it does not touch unless told.

import type { IdMapJson } from '../ids/id-map.ts';

/** What to do where a name is taken already. Directories are entered, under every rule. */
export const EXISTING_RULES = ['refuse', 'keep', 'changed', 'replace'] as const;
export type ExistingRule = (typeof EXISTING_RULES)[number];

/** Structured-cloneable: worker threads get it with their work. */
export interface RestoreRules {
  /**
   * `refuse`: end with `target-unfit`. `keep`: leave what is there. `changed`: leave the content of regular files of the same size and
   * modification time, replace all else. `replace`: replace.
   */
  readonly existing: ExistingRule;
  /** Make block and character devices; without it they are left out. */
  readonly devices: boolean;
  /** Zeros, or nothing, stand for what is lost; without it the first lost object ends the restore. */
  readonly zeroLost: boolean;
  /** Ids in the archive are a container's: set those of its host. */
  readonly ids?: IdMapJson;
}

/** Whether metadata of directories that were there before is set too. */
export function replaces(rules: RestoreRules): boolean {
  return rules.existing === 'changed' || rules.existing === 'replace';
}

/** Files above this are restored range by range, by all threads. Smaller ones are handed to one thread, many at a time. */
export const LARGE_FILE_BYTES = 8 * 1024 * 1024;

/** 0x10 immutable, 0x20 append-only: such a file can be neither linked nor renamed any more. */
export const PINNING_ATTRIBUTES = 0x30;
