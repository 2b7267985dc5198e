// What becomes of the parts of a VMA archive: a device is NAME.img, a file keeps its name, the memory of the guest is left out.
import { archiveKind } from '../../schema/names.ts';
import type { ExactReader } from './exact-reader.ts';
import type { VmaDevice, VmaHeader } from './vma-header.ts';

/** The device that holds the memory of a guest that was saved running. */
const MEMORY = 'vmstate';

export interface VmaPlan {
  readonly header: VmaHeader;
  readonly images: readonly { readonly name: string; readonly device: VmaDevice }[];
  readonly blobs: readonly { readonly name: string; readonly content: Buffer }[];
}

/** @throws `source-failed` for names that no archive of a snapshot can have, or that are there twice. */
export function planVma(header: VmaHeader, reader: ExactReader, warn: (message: string) => void): VmaPlan {
  const names = new Set<string>();
  const nameOf = (name: string, kind: string, what: string): string => {
    let problem = names.has(name) ? 'which is there twice' : undefined;
    try {
      if (archiveKind(name) !== kind)
        problem ??= `which is not that of ${kind === 'image' ? 'a disk' : 'a small file'}`;
    } catch (error) {
      problem ??= (error as Error).message;
    }
    if (problem !== undefined) throw reader.damaged(`${what} would be archive ${JSON.stringify(name)}: ${problem}`, 0);
    names.add(name);
    return name;
  };
  const images: VmaPlan['images'][number][] = [];
  for (const device of header.devices) {
    if (device.name === MEMORY)
      warn(
        `device ${device.id} (${MEMORY}) is left out: it is the memory of the guest, and a snapshot has disks alone`,
      );
    else images.push({ name: nameOf(`${device.name}.img`, 'image', `device ${device.id}`), device });
  }
  const blobs = header.configs.map(({ name, content }) => ({ name: nameOf(name, 'blob', 'a file'), content }));
  return { header, images, blobs };
}
