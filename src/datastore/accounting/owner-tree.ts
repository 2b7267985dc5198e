// Who an object belongs to: a tree of the datastore, its namespaces, groups and snapshots. An object that two nodes reach belongs to
// the lowest node above both. So one number per object says who alone holds it, whatever the number of snapshots.
import type { SnapshotName } from '../snapshots/group-store.ts';

/** The root: shared by namespaces that have nothing but the datastore in common. */
export const WHOLE_DATASTORE = 1;

export class OwnerTree {
  /** By node; 0 stands for nobody, node 1 is the root. */
  readonly #parent: number[] = [0, 0];
  readonly #depth: number[] = [0, 0];
  readonly #nodes = new Map<string, number>();

  /** The node of a snapshot; made when it is not there. */
  snapshot({ ns, group, time }: SnapshotName): number {
    return this.#child(this.group(ns, group), `${ns}|${group}|${time}`);
  }

  group(ns: string, group: string): number {
    return this.#child(this.namespace(ns), `${ns}|${group}`);
  }

  /** Of the root namespace the root of the tree, for all others lie in it. */
  namespace(ns: string): number {
    if (ns === '') return WHOLE_DATASTORE;
    return this.#child(this.namespace(ns.slice(0, Math.max(0, ns.lastIndexOf('/')))), ns);
  }

  /** The lowest node that both lie below, or are. */
  join(one: number, other: number): number {
    let [a, b] = [one, other];
    while (a !== b) {
      if ((this.#depth[a] as number) < (this.#depth[b] as number)) b = this.#parent[b] as number;
      else a = this.#parent[a] as number;
    }
    return a;
  }

  /** Nodes are numbered from 1 to here, parents before children. */
  get count(): number {
    return this.#parent.length - 1;
  }

  #child(parent: number, key: string): number {
    const known = this.#nodes.get(key);
    if (known !== undefined) return known;
    const node = this.#parent.push(parent) - 1;
    this.#depth.push((this.#depth[parent] as number) + 1);
    this.#nodes.set(key, node);
    return node;
  }
}
