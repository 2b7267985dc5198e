// The file `spaces` made anew: which owner and key a number means stands in the manifests too, and that a number is in use shows in packs.
// Of a number that only packs have nothing else can be told: it is kept from being given away again.
import { closeSync } from 'node:fs';
import { PLAIN_SPACE } from '../../chunker/object.ts';
import type { Manifest } from '../../schema/manifest.ts';
import type { Layout } from '../layout.ts';
import { holdersPackFiles, openFirst } from '../packs/pack-files.ts';
import { readTableEntry, TABLE_ENTRY_BYTES, type TableEntry } from '../packs/pack-format.ts';
import { readPackHeader, readSealedPack, scanRecords } from '../packs/pack-scan.ts';
import { readLines, type SpaceName, spaceLine, UNKNOWN_SPACE } from '../spaces.ts';

/** What the file should be, and how that was found out. */
export interface RebuiltSpaces {
  readonly text: string;
  readonly action: string;
}

/** Undefined when the file is as it should be. `manifests` are all that can be read. */
export function rebuildSpaces(layout: Layout, manifests: readonly Manifest[]): RebuiltSpaces | undefined {
  const { lines } = readLines(layout.spaces);
  const named = spacesOf(manifests);
  const used = Math.max(lines.length, highestUsed(layout), ...named.keys());
  if (lines.length === used && !lines.includes(undefined)) return undefined;
  const names = Array.from({ length: used }, (_, place) => lines[place] ?? named.get(place + 1) ?? UNKNOWN_SPACE);
  const unknown = names.flatMap((name, place) => (name === UNKNOWN_SPACE ? [place + 1] : []));
  const rest =
    unknown.length === 0
      ? ''
      : `; whose spaces ${unknown.join(', ')} are could not be told: what is in them stays, and backups of those keys begin anew`;
  return {
    text: names.map(spaceLine).join(''),
    action: `written anew with ${used} spaces, from manifests and packs${rest}`,
  };
}

/** What manifests say of spaces; of an owner who changed, the first one counts, whose space it was. */
function spacesOf(manifests: readonly Manifest[]): Map<number, SpaceName> {
  const named = new Map<number, SpaceName>();
  for (const { client, server } of [...manifests].sort((a, b) => a.server.time - b.server.time)) {
    if (server.space === PLAIN_SPACE || client.key === null || named.has(server.space)) continue;
    named.set(server.space, { owner: server.owner, key: client.key });
  }
  return named;
}

/** The highest space of any record in any pack. */
function highestUsed(layout: Layout): number {
  const { sealed, open } = holdersPackFiles(layout);
  let highest = PLAIN_SPACE;
  for (const packId of [...sealed, ...open]) {
    const fd = openFirst([layout.sealedPack(packId), layout.openPack(packId)]);
    if (fd === undefined) continue;
    try {
      for (const { space } of entriesOf(fd)) highest = Math.max(highest, space);
    } finally {
      closeSync(fd);
    }
  }
  return highest;
}

function* entriesOf(fd: number): Generator<TableEntry> {
  const whole = readSealedPack(fd);
  const header = readPackHeader(fd);
  if (whole !== undefined)
    for (let at = 0; at < whole.table.length; at += TABLE_ENTRY_BYTES) yield readTableEntry(whole.table, at);
  else if (header !== undefined) yield* scanRecords(fd, header);
}
