// One disk of a running guest as it was at the instant, as a source for the backup. QEMU before 8.0 gets a question about its snapshot wrong when what it
// concerns begins with clusters that the guest has overwritten and goes on with others: it answers for the disk as it is now. So no request to such a QEMU crosses
// the border of a cluster, and zeros are believed only where the fleece has nothing.
import type { SharedPace } from '../nbd/pace.ts';
import { connectForZeros, openNbdSource, zerosWithin } from '../sources/nbd-source.ts';
import { without } from '../sources/ranges.ts';
import type { DiskSource } from '../sources/source.ts';

/** An export of an NBD server. */
export interface NbdExport {
  readonly socketPath: string;
  readonly exportName: string;
}

export interface FrozenDiskParts {
  /** What messages call the disk. */
  readonly label: string;
  /** The snapshot that QEMU shows. */
  readonly view: NbdExport;
  /** Where it keeps what the guest overwrites. */
  readonly fleece: NbdExport;
  readonly pace: SharedPace;
  /** For an answer; undefined for the usual time. */
  readonly timeoutMs: number | undefined;
}

/** @throws as `openDiskSource`. */
export async function openFrozenDisk(
  { label, view, fleece, pace, timeoutMs }: FrozenDiskParts,
  signal: AbortSignal,
): Promise<DiskSource> {
  const kept = await connectForZeros(fleece, fleece.exportName, { label: `${label}, its fleece`, signal });
  try {
    return await openNbdSource(view, view.exportName, {
      label,
      signal,
      pace,
      timeoutMs,
      // Asked after the snapshot was: what the guest has overwritten by then is there.
      believed: async (zeros, range) => without(zeros, without([range], await zerosWithin(kept, range))),
      alsoClose: async () => await kept.close(),
    });
  } catch (error) {
    await kept.close();
    throw error;
  }
}
