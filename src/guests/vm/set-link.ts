// The link of a guest's network card, on QEMU's side: the card itself, so that the guest sees it.
import type { QmpCommands } from '../qmp/qmp-types.ts';

/** `key` is `net0`. */
export async function setLink(monitor: QmpCommands, key: string, up: boolean): Promise<void> {
  await monitor.execute('set_link', { name: `${key}-card`, up });
}
