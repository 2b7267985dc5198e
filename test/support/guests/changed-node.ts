// A node whose storages do some things otherwise: fail, or look at what is so meanwhile.
import type { GuestNode } from '../../../src/guests/guest-node.ts';
import type { Storage } from '../../../src/guests/storage/storage.ts';
import { type LocatedVolume, Storages } from '../../../src/guests/storage/storages.ts';

/** `change` says what takes the place of calls of a volume's storage. */
export function changedNode(node: GuestNode, change: (volume: LocatedVolume) => Partial<Storage>): GuestNode {
  class Changed extends Storages {
    override async volume(id: string, snapshot?: string): Promise<LocatedVolume> {
      const located = await super.volume(id, snapshot);
      const changed = change(located);
      const storage = new Proxy(located.storage, {
        get: (target, key) => {
          if (key in changed) return changed[key as keyof Storage];
          const value: unknown = target[key as keyof Storage];
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
      return { ...located, storage };
    }
  }
  return { ...node, storages: new Changed(node.directory.path) };
}
