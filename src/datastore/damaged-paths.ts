// The paths of a file tree that cannot be read back.

/** A file that lost bytes, or a directory of which the names are lost, and with them all that is below. As it stands in JSON. */
export interface DamagedPath {
  /** Below the top; empty for the top itself. */
  readonly path: string;
  /** The path in base64, when it is not UTF-8. */
  readonly pathBytes?: string;
  readonly type: 'file' | 'directory';
  /** Of a file; null for a directory, for what it held is not known. */
  readonly sizeBytes: number | null;
  readonly bytesLost: number | null;
  /** Of a large directory only these names are lost: from this one on … */
  readonly namesFrom?: string;
  /** … to below this one; missing when it is to the end. */
  readonly namesBefore?: string;
}

export interface TreeDamage {
  /** Files and directories that are damaged. */
  readonly count: number;
  /** The first of them, in the order of the tree. */
  readonly first: readonly DamagedPath[];
}
