// From a locator to an open disk, in whatever thread this is called.
import { FileReader } from './file-reader.ts';
import { openNbdReader } from './nbd-source.ts';
import type { DiskReader, SourceLocator } from './source.ts';

export async function openDiskReader(locator: SourceLocator): Promise<DiskReader> {
  return locator.type === 'file' ? new FileReader(locator.path) : openNbdReader(locator);
}
