// What unfinished sessions left behind and a retry may use: objects of their packs whose whole closure is present. Computed once, when
// the store is opened or the session becomes unfinished (rule S2).
import { closeSync, openSync } from 'node:fs';
import type { ObjectId } from '../../chunker/object.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import type { Layout } from '../layout.ts';
import { eachRef, type IndexLocator, type ObjectSource } from '../object-source.ts';
import { readPackHeader } from '../packs/pack-scan.ts';
import type { PackTable } from '../packs/pack-table.ts';

/** Per session id, the index entries of its leftovers. */
export type Leftovers = Map<string, Uint32Array>;

export function findLeftovers(
  layout: Layout,
  sessionIds: ReadonlySet<string>,
  packs: PackTable,
  locator: IndexLocator,
  source: ObjectSource,
): Leftovers {
  const leftovers: Leftovers = new Map();
  if (sessionIds.size === 0) return leftovers;
  const sessionOf = sessionsOfPacks(layout, packs, sessionIds);
  const closure = new ClosureCheck(locator, source);
  const found = new Map<string, number[]>();
  for (const entry of locator.index.entries()) {
    const session = sessionOf[locator.pack(entry)];
    if (session === undefined || !locator.isReadable(entry) || !closure.holds(entry)) continue;
    const entries = found.get(session);
    if (entries === undefined) found.set(session, [entry]);
    else entries.push(entry);
  }
  for (const [session, entries] of found) leftovers.set(session, Uint32Array.from(entries));
  return leftovers;
}

/** For each pack number the session that wrote it, where that is one of `wanted`. */
export function sessionsOfPacks(layout: Layout, packs: PackTable, wanted: ReadonlySet<string>): (string | undefined)[] {
  return Array.from({ length: packs.count }, (_, pack) => {
    const session = sessionOfPack(layout.sealedPack(packs.packId(pack)));
    return session !== undefined && wanted.has(session) ? session : undefined;
  });
}

function sessionOfPack(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return readPackHeader(fd)?.sessionId.toString('hex');
  } finally {
    closeSync(fd);
  }
}

class ClosureCheck {
  readonly #locator: IndexLocator;
  readonly #source: ObjectSource;
  readonly #known = new Map<number, boolean>();

  constructor(locator: IndexLocator, source: ObjectSource) {
    this.#locator = locator;
    this.#source = source;
  }

  holds(entry: number): boolean {
    if (this.#locator.isData(entry)) return true;
    const known = this.#known.get(entry);
    if (known !== undefined) return known;
    const holds = this.#closed(entry);
    this.#known.set(entry, holds);
    return holds;
  }

  #closed(entry: number): boolean {
    const space = this.#locator.index.space(entry);
    let refs: Uint8Array;
    try {
      refs = this.#source.refs(space, this.#locator.index.id(entry)).refs;
    } catch (error) {
      if (error instanceof HoldfastError) return false;
      throw error;
    }
    for (const ref of eachRef(refs)) {
      const child = this.#locator.readable(space, ref as ObjectId);
      if (child < 0 || !this.holds(child)) return false;
    }
    return true;
  }
}
