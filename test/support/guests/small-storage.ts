// A storage of a test node that is a file system of its own, and so can run full.
import { type SmallDisk, withSmallDisk } from '../small-disk.ts';
import type { TestNode } from './vm-node.ts';

/** `small` of the node is there for the time of `use`. */
export async function withSmallStorage(
  { node }: TestNode,
  sizeBytes: number,
  use: (disk: SmallDisk) => Promise<void>,
): Promise<void> {
  const { config } = node.storages;
  await withSmallDisk(sizeBytes, async (disk) => {
    const properties = new Map(Object.entries({ path: disk.mountPath, content: 'images' }));
    const small = { type: 'dir', id: 'small', properties };
    await config.change((before) => ({ ...before, sections: [...before.sections, small] }));
    try {
      await use(disk);
    } finally {
      await config.change((before) => ({ ...before, sections: before.sections.filter(({ id }) => id !== 'small') }));
    }
  });
}
