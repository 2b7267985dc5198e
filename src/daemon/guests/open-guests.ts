// The guests of the server's own machine: what the guest dialect serves, and the watch that settles guests while the server runs.
import type { GuestService, StorageService } from '../../api/guest/services.ts';
import { openGuestNode } from '../../guests/guest-node.ts';
import { VirtualMachines } from '../../guests/vm/virtual-machines.ts';
import { watchGuests } from '../../guests/watch/watch-guests.ts';
import type { Log } from '../log.ts';
import { nodeStorages } from './node-storages.ts';

export interface OpenGuests {
  readonly guests: GuestService;
  readonly storages: StorageService;
  /** Ends the watch; guests go on. */
  close(): Promise<void>;
}

/** `directory` is the node's. When another process watches its guests already, that one goes on doing it. */
export async function openGuests(directory: string, log: Log): Promise<OpenGuests> {
  const node = await openGuestNode(directory);
  const warn = (line: string): void => log.warn(line);
  const ending = new AbortController();
  const watching = watchGuests(node, ending.signal, { log: (line) => log.info(line), warn }).then(
    (isOurs) => {
      if (!isOurs) log.info('another process watches the guests of this machine');
    },
    (error: unknown) => log.error({ err: error }, 'the guests are not watched any more'),
  );
  return {
    guests: new VirtualMachines(node, warn),
    storages: nodeStorages(node),
    close: async () => {
      ending.abort();
      await watching;
    },
  };
}
