// Which packs a verification reads, and in which order.
import { statSync } from 'node:fs';
import { systemCode } from '../../util/errors.ts';
import type { Layout } from '../layout.ts';
import type { IndexLocator } from '../object-source.ts';
import { PackState, type PackTable } from '../packs/pack-table.ts';
import type { QuarantineList } from '../quarantine.ts';
import type { Proofs } from './proofs.ts';
import { packsOf, type Reached } from './reached.ts';
import type { PackTarget } from './read-packs.ts';

interface PackSources {
  readonly layout: Layout;
  readonly packs: PackTable;
  readonly locator: IndexLocator;
}

/** All sealed packs, or those that hold what a snapshot reaches. */
export async function targetsOf(
  { layout, packs, locator }: PackSources,
  reached: Reached | undefined,
  signal: AbortSignal,
): Promise<PackTarget[]> {
  if (reached !== undefined) {
    const bytes = await packsOf(locator.index, reached.entries, signal);
    return [...bytes].map(([pack, fileBytes]) => ({ pack, packId: packs.packId(pack).toString('hex'), fileBytes }));
  }
  return sealedPacks(packs).map((pack) => {
    const packId = packs.packId(pack);
    return { pack, packId: packId.toString('hex'), fileBytes: sizeOf(layout.sealedPack(packId)) };
  });
}

function sealedPacks(packs: PackTable): number[] {
  return Array.from({ length: packs.count }, (_, pack) => pack).filter(
    (pack) => packs.state(pack) === PackState.sealed,
  );
}

/** Ids of the packs that a verification of everything reads. */
export function sealedPackIds(packs: PackTable): Set<string> {
  return new Set(sealedPacks(packs).map((pack) => packs.packId(pack).toString('hex')));
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch (error) {
    // The pack is read all the same, and found to be gone or dropped.
    if (systemCode(error) === 'ENOENT') return 0;
    throw error;
  }
}

/** Leaves out what was proved lately; the rest with the oldest proof first, so that runs that are stopped early come around. */
export function choose(
  targets: readonly PackTarget[],
  proofs: Proofs,
  quarantine: QuarantineList,
  { provedSinceMs, nowMs }: { provedSinceMs: number; nowMs: number },
): { due: PackTarget[]; skipped: number } {
  // A copy that was found bad since a pack's proof says that the proof holds no longer.
  const concerned = quarantine.packsConcerned();
  const ages = new Map(targets.map(({ packId }) => [packId, proofs.provedMs(packId, nowMs)]));
  const age = ({ packId }: PackTarget): number => ages.get(packId) as number;
  const due = targets.filter((target) => age(target) < provedSinceMs || concerned.has(target.packId));
  due.sort((a, b) => age(a) - age(b));
  return { due, skipped: targets.length - due.length };
}
