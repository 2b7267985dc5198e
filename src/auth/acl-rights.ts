// The rights of one user or one token, read off its ACL entries: on the way down to a path the deepest place that says anything counts, alone;
// to what is in a pool, what counts at the pool is added.
import { isAtOrBelow, pathsDownTo } from './acl-path.ts';
import { type Privilege, privilegesOf, type RoleName } from './privileges.ts';

export interface AclEntry {
  readonly path: string;
  readonly role: RoleName;
  /** Whether it holds for what is below the path too. */
  readonly propagate: boolean;
}

/** Privilege -> whether it also holds below. */
export type Rights = ReadonlyMap<Privilege, boolean>;

interface Place {
  /** For exactly this path. */
  readonly here: Rights;
  /** For what is below; undefined when nothing propagates, so that what comes from above goes on. */
  readonly below: Rights | undefined;
}

export const NO_RIGHTS: Rights = new Map();
/** What a NoAccess that counts leaves. Unlike where nothing is said, no pool adds to it. */
const NO_ACCESS: Rights = new Map();

export class AclRights {
  readonly #places = new Map<string, Place>();

  constructor(entries: readonly AclEntry[]) {
    const byPath = new Map<string, AclEntry[]>();
    for (const entry of entries) byPath.set(entry.path, [...(byPath.get(entry.path) ?? []), entry]);
    for (const [path, here] of byPath) {
      const below = here.filter(({ propagate }) => propagate);
      this.#places.set(path, { here: rightsOf(here), below: below.length === 0 ? undefined : rightsOf(below) });
    }
  }

  /**
   * What holds at a path; `pools` are the paths of the pools that hold what stands at exactly this one. What a pool gives is added, and never
   * holds below; where a pool says NoAccess nothing is left.
   */
  at(path: string, pools: readonly string[] = []): Rights {
    const own = this.#standing(path);
    if (own === NO_ACCESS || pools.length === 0) return own;
    const ofPools = pools.map((pool) => this.#standing(pool));
    if (ofPools.includes(NO_ACCESS)) return NO_ACCESS;
    const rights = new Map(own);
    for (const each of ofPools)
      for (const privilege of each.keys()) if (!rights.has(privilege)) rights.set(privilege, false);
    return rights;
  }

  /** By the entries alone. */
  #standing(path: string): Rights {
    const way = pathsDownTo(path);
    const here = this.#places.get(way[way.length - 1]);
    if (here !== undefined) return here.here;
    for (let index = way.length - 2; index >= 0; index--) {
      const below = this.#places.get(way[index])?.below;
      if (below !== undefined) return below;
    }
    return NO_RIGHTS;
  }

  /** The paths at or below `path` that have entries. */
  pathsFrom(path: string): string[] {
    return [...this.#places.keys()].filter((each) => isAtOrBelow(each, path));
  }
}

/** Entries of one path together; `NoAccess` among them leaves nothing. */
function rightsOf(entries: readonly AclEntry[]): Rights {
  if (entries.some(({ role }) => role === 'NoAccess')) return NO_ACCESS;
  const rights = new Map<Privilege, boolean>();
  for (const { role, propagate } of entries) {
    for (const privilege of privilegesOf(role)) rights.set(privilege, propagate || rights.get(privilege) === true);
  }
  return rights;
}

/** What both allow. */
export function bothAllow(one: Rights, other: Rights): Rights {
  const rights = new Map<Privilege, boolean>();
  for (const [privilege, propagate] of one) {
    const second = other.get(privilege);
    if (second !== undefined) rights.set(privilege, propagate && second);
  }
  return rights;
}
