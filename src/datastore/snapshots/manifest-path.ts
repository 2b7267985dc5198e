// Where the manifest of a snapshot lies in the directory of its group. A leaf, for worker threads know it too.
import { join } from 'node:path';
import { formatTime } from '../../schema/names.ts';

export const MANIFEST = 'manifest.json';

/** `time` in Unix seconds. */
export function manifestPathIn(groupPath: string, time: number): string {
  return join(groupPath, formatTime(time), MANIFEST);
}
