// Files in packs/ that are named like sealed packs and from which the index took nothing: what they held is missing.
import { closeSync } from 'node:fs';
import type { Layout } from '../layout.ts';
import { holdersPackFiles } from '../packs/pack-files.ts';
import { readPackHeader } from '../packs/pack-scan.ts';
import type { PackTable } from '../packs/pack-table.ts';

/** Packs whose header is damaged; those of another datastore are no damage of this one. */
export function unknownPacks(layout: Layout, packs: PackTable, storeId: string): { pack: string; problem: string }[] {
  const files = holdersPackFiles(layout);
  // After the listing: a pack that was sealed before it is in the table by now.
  const known = new Set(Array.from({ length: packs.count }, (_, pack) => packs.packId(pack).toString('hex')));
  const found: { pack: string; problem: string }[] = [];
  for (const packId of files.sealed) {
    const pack = packId.toString('hex');
    const fd = known.has(pack) ? undefined : files.openSealed(packId);
    if (fd === undefined) continue;
    try {
      const header = readPackHeader(fd);
      if (header === undefined || !header.packId.equals(packId))
        found.push({ pack, problem: 'its header is damaged, or it is no pack: nothing in it is used' });
      else if (header.storeId.toString('hex') === storeId)
        found.push({
          pack,
          problem: 'it was put there while the datastore was open: it counts from the next command on',
        });
    } finally {
      closeSync(fd);
    }
  }
  return found;
}
