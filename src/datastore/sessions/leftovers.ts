// What unfinished sessions left behind and a retry may use: objects of their packs whose whole closure is present. Computed once, when
// the store is opened or the session becomes unfinished (rule S2).
import { closeSync, openSync } from 'node:fs';
import type { ObjectId } from '../../chunker/object.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { WorkSlices } from '../../util/work-slices.ts';
import type { Layout } from '../layout.ts';
import { eachRef, type IndexLocator, type ObjectSource } from '../object-source.ts';
import { readPackHeader } from '../packs/pack-scan.ts';
import type { PackTable } from '../packs/pack-table.ts';

/** Of the index, some 0.1 ms; the clock is looked at as often. */
const ENTRIES_BETWEEN_LOOKS = 1024;

/** Per session id, the index entries of its leftovers. */
export type Leftovers = Map<string, Uint32Array>;

/** A server goes on with other things between slices of the index. */
export async function findLeftovers(
  layout: Layout,
  sessionIds: ReadonlySet<string>,
  packs: PackTable,
  locator: IndexLocator,
  source: ObjectSource,
): Promise<Leftovers> {
  const leftovers: Leftovers = new Map();
  if (sessionIds.size === 0) return leftovers;
  const sessionOf = await sessionsOfPacks(layout, packs, sessionIds);
  const closure = new ClosureCheck(locator, source);
  const found = new Map<string, number[]>();
  const slices = new WorkSlices();
  let looked = 0;
  for (const entry of locator.index.entries()) {
    if (++looked % ENTRIES_BETWEEN_LOOKS === 0) await slices.next();
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
export async function sessionsOfPacks(
  layout: Layout,
  packs: PackTable,
  wanted: ReadonlySet<string>,
): Promise<(string | undefined)[]> {
  const sessions: (string | undefined)[] = [];
  if (wanted.size === 0) return sessions;
  const slices = new WorkSlices();
  for (let pack = 0; pack < packs.count; pack++) {
    await slices.next();
    const session = sessionOfPack(layout.sealedPack(packs.packId(pack)));
    sessions.push(session !== undefined && wanted.has(session) ? session : undefined);
  }
  return sessions;
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
