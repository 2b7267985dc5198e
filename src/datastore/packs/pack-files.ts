// Which pack files there are, and under which name to open them. The holder finds everything in `packs/`; a reader beside it also looks
// where packs go that are dropped meanwhile (rule L1).
import { openSync, readdirSync } from 'node:fs';
import { systemCode } from '../../util/errors.ts';
import type { Layout } from '../layout.ts';

export interface PackFiles {
  readonly sealed: readonly Buffer[];
  readonly open: readonly Buffer[];
  /** A descriptor of a sealed pack; undefined when it is gone. */
  openSealed(packId: Buffer): number | undefined;
}

/** The packs of a store that nobody else changes. What was dropped is no part of it. */
export function holdersPackFiles(layout: Layout): PackFiles {
  const names = readdirSync(layout.packs);
  return {
    sealed: packIds(names, '.pack'),
    open: packIds(names, '.open'),
    openSealed: (packId) => openFirst([layout.sealedPack(packId)]),
  };
}

/**
 * The packs that a reader sees, whose lock on `readers.db` keeps dropped packs from being deleted. The holder may seal, write and drop
 * packs while the directory is read, and such a name may be missed: what one listing misses is in the next, or in `condemned/`.
 */
export function readersPackFiles(layout: Layout): PackFiles {
  const listings = [layout.packs, layout.packs, layout.condemned].map((directory) => readdirSync(directory));
  const names = [...new Set(listings.flat())];
  const sealed = packIds(names, '.pack');
  const isSealed = new Set(sealed.map((packId) => packId.toString('hex')));
  return {
    sealed,
    open: packIds(names, '.open').filter((packId) => !isSealed.has(packId.toString('hex'))),
    openSealed: (packId) => openFirst([layout.sealedPack(packId), layout.condemnedPack(packId)]),
  };
}

/** Opens the first of these files that is there. */
export function openFirst(paths: readonly string[]): number | undefined {
  for (const path of paths) {
    try {
      return openSync(path, 'r');
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
  }
  return undefined;
}

function packIds(names: readonly string[], suffix: '.pack' | '.open'): Buffer[] {
  return names
    .filter((name) => /^[0-9a-f]{32}\.(pack|open)$/.test(name) && name.endsWith(suffix))
    .sort()
    .map((name) => Buffer.from(name.slice(0, 32), 'hex'));
}
