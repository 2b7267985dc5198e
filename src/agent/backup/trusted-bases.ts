// Which snapshots a backup may build on: made with its own key, signed, and under the label of their time. What an old base does not
// know is read again; only a change map names its base by label, and a label that lies would keep old data.
import type { DataKey } from '../../chunker/data-key.ts';
import { HoldfastError } from '../../util/errors.ts';
import { olderThanRemembered, type Remembered } from '../keys/last-snapshots.ts';
import { implausibleLabel, requireSigned } from '../keys/manifest-signature.ts';
import type { Base } from './session.ts';

interface Trust {
  readonly group: string;
  readonly key: DataKey | undefined;
  /** What this client made last. */
  readonly last?: Remembered | undefined;
  readonly warn: (message: string) => void;
}

/** The bases that may be used, in their order; each that may not is a warning, and so is a newest one that is older than `last`. */
export function trustedBases(bases: readonly Base[], trust: Trust): readonly Base[] {
  const good = bases.filter((base) => {
    const why = doubt(base, trust);
    if (why !== undefined) trust.warn(`${base.name} is not built on: ${why}`);
    return why === undefined;
  });
  if (trust.last === undefined || trust.key === undefined) return good;
  const newest = good.reduce<Base | undefined>(
    (a, b) => (a !== undefined && a.sequence > b.sequence ? a : b),
    undefined,
  );
  const older = newest === undefined ? undefined : olderThanRemembered(newest.manifest, trust.last);
  if (older !== undefined) trust.warn(`${older}; all that changed since the older one is read and stored`);
  return good;
}

function doubt({ manifest }: Base, { group, key, last }: Trust): string | undefined {
  if (manifest.client.key !== (key?.fingerprint ?? null)) return 'it was made with another key';
  try {
    requireSigned(manifest, group, key);
  } catch (error) {
    if (error instanceof HoldfastError) return error.message;
    throw error;
  }
  if (key === undefined) return undefined;
  if (last !== undefined && manifest.server.time === last.time && manifest.client.signature !== last.signature)
    return 'this client made another snapshot with this label';
  return implausibleLabel(manifest);
}
