// The guests of the server's own machine: what the guest dialect serves, and the watch that settles guests while the server runs.
import { setTimeout as sleep } from 'node:timers/promises';
import type { GuestService, StorageService } from '../../api/guest/services.ts';
import { openGuestNode } from '../../guests/guest-node.ts';
import { VirtualMachines } from '../../guests/vm/virtual-machines.ts';
import { watchGuests } from '../../guests/watch/watch-guests.ts';
import type { Log } from '../log.ts';
import { nodeStorages } from './node-storages.ts';

/** How soon the watch is ours when another process ends its own, as that of `holdfast vm start` does when no guest runs. */
const WATCH_AGAIN_MS = 10_000;

export interface OpenGuests {
  readonly guests: GuestService;
  readonly storages: StorageService;
  /** Ends the watch; guests go on. */
  close(): Promise<void>;
}

/** `directory` is the node's. When another process watches its guests already, that one goes on doing it until it ends. */
export async function openGuests(
  directory: string,
  log: Log,
  { watchAgainMs = WATCH_AGAIN_MS }: { readonly watchAgainMs?: number } = {},
): Promise<OpenGuests> {
  const node = await openGuestNode(directory);
  const warn = (line: string): void => log.warn(line);
  const ending = new AbortController();
  const watch = async (): Promise<void> => {
    for (let refusals = 0; !ending.signal.aborted; refusals++) {
      if (await watchGuests(node, ending.signal, { log: (line) => log.info(line), warn })) continue;
      if (refusals === 0) log.info('another process watches the guests of this machine');
      await sleep(watchAgainMs, undefined, { signal: ending.signal }).catch(() => undefined);
    }
  };
  const watching = watch().catch((error: unknown) => log.error({ err: error }, 'the guests are not watched any more'));
  return {
    guests: new VirtualMachines(node, warn),
    storages: nodeStorages(node),
    close: async () => {
      ending.abort();
      await watching;
    },
  };
}
