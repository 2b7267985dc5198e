// What makes a virtual machine another one than its copy: the UUID of its firmware and its generation id.
import { randomUUID } from 'node:crypto';

/** Values for a machine that is made, cloned, or restored as another one. */
export function freshIdentity(): { readonly smbios1: string; readonly vmgenid: string } {
  return { smbios1: `uuid=${randomUUID()}`, vmgenid: randomUUID() };
}
