// From a locator to an open disk, in whatever thread this is called.
import { FileReader } from './file-reader.ts';
import type { DiskReader, SourceLocator } from './source.ts';

export async function openDiskReader(locator: SourceLocator): Promise<DiskReader> {
  if (locator.type === 'file') return new FileReader(locator.path);
  // Loaded when it is needed: sockets would cost every thread of a file backup its start-up time.
  const { openNbdReader } = await import('./nbd-source.ts');
  return await openNbdReader(locator);
}
