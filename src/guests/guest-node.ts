// A node's guests as its operations see them: where they are kept, their configurations, their storages, the node's QEMU. Holds nothing open, so it
// costs nothing to make and needs no closing.
import { ConfigStore } from './config/config-store.ts';
import { NodeDirectory } from './node-directory.ts';
import { type QemuProgram, readQemuProgram } from './qemu/qemu-program.ts';
import { Storages } from './storage/storages.ts';

export interface GuestNode {
  readonly directory: NodeDirectory;
  readonly configs: ConfigStore;
  readonly storages: Storages;
  readonly qemu: QemuProgram;
}

/** What an operation says while it works: to a task's log, or to a terminal. */
export interface Report {
  log(line: string): void;
  warn(line: string): void;
}

/** `path` is the node's directory; it is made when something is first kept there. */
export async function openGuestNode(path: string): Promise<GuestNode> {
  const directory = new NodeDirectory(path);
  return {
    directory,
    configs: new ConfigStore(directory.path),
    storages: new Storages(directory.path),
    qemu: await readQemuProgram(directory.path),
  };
}
