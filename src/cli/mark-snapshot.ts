// The note and the protection of a snapshot that was just made.
import { changeSnapshot } from '../datastore/snapshots/snapshot-operations.ts';
import { formatTime } from '../schema/names.ts';
import { HoldfastError } from '../util/errors.ts';
import { operateWithin } from './operate.ts';
import type { CommonOptions } from './repository.ts';
import type { Surroundings } from './surroundings.ts';

export interface Marks {
  /** Empty for none. */
  readonly notes: string;
  readonly isProtected: boolean;
}

/** The snapshot is made by then: an error says so. @throws what changing a snapshot does. */
export async function markSnapshot(
  name: Parameters<typeof changeSnapshot.run>[1]['name'],
  { notes, isProtected }: Marks,
  options: CommonOptions,
  around: Surroundings,
): Promise<void> {
  if (notes === '' && !isProtected) return;
  const change = { ...(notes !== '' && { notes }), ...(isProtected && { protected: true }) };
  try {
    await operateWithin(options, 1, changeSnapshot, { name, change }, around);
  } catch (cause) {
    if (!(cause instanceof HoldfastError)) throw cause;
    throw new HoldfastError(
      cause.code,
      `snapshot ${name.group}/${formatTime(name.time)} was made, but without its notes and protection: ${cause.message}; set them with: holdfast snapshot note, holdfast snapshot protect`,
      { cause },
    );
  }
}
