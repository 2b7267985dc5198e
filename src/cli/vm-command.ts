// What commands on one virtual machine of this host share: its node, its number, the terminal around them, and the watch that a start leaves behind.
import { spawn } from 'node:child_process';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { type GuestNode, openGuestNode, type Report } from '../guests/guest-node.ts';
import { isWatched } from '../guests/watch/watch-lock.ts';
import { type GuestId, parseGuestId } from '../schema/guest-names.ts';
import { addNodeOption, type NodeOptions, nodeDirectoryOf, reportOf } from './node-option.ts';
import type { CommonOptions } from './repository.ts';
import { atTerminal, type Surroundings } from './surroundings.ts';

export interface VmOptions extends CommonOptions, NodeOptions {}

export interface AtNode {
  readonly node: GuestNode;
  readonly around: Surroundings;
  readonly report: Report;
  readonly signal: AbortSignal;
}

export interface OnVm extends AtNode {
  readonly id: GuestId;
}

/** A command that works on the node's guests. */
export function nodeCommand(vm: Command, name: string, description: string): Command {
  return addNodeOption(vm.command(name)).description(description);
}

/** One that works on the guest of its first argument. */
export function vmCommand(vm: Command, name: string, description: string): Command {
  return nodeCommand(vm, name, description).argument('<VMID>');
}

export async function atNode<Result>(options: VmOptions, use: (at: AtNode) => Promise<Result>): Promise<Result> {
  return await atTerminal(options, async (around) => {
    const node = await openGuestNode(nodeDirectoryOf(options));
    return await use({ node, around, report: reportOf(around), signal: around.signal });
  });
}

export async function onVm<Result>(
  vmid: string,
  options: VmOptions,
  use: (on: OnVm) => Promise<Result>,
): Promise<Result> {
  const id = parseGuestId(vmid);
  return await atNode(options, async (at) => await use({ ...at, id }));
}

/** The watch of a node that starts guests from the command line ends when nothing ran for so long. */
const IDLE_SECONDS = 60;

/** Starts a watch of its own session beside us, unless one runs. */
export async function startWatch({ directory }: GuestNode): Promise<void> {
  if (await isWatched(directory)) return;
  await mkdir(directory.runPath, { recursive: true, mode: 0o700 });
  const log = await open(join(directory.runPath, 'watch.log'), 'a', 0o600);
  const program = process.argv[1] as string;
  const args = [program, 'vm', 'watch', '--node-dir', directory.path, '--idle', String(IDLE_SECONDS)];
  const child = spawn(process.execPath, [...process.execArgv, ...args], {
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
    cwd: '/',
  });
  // Without a watch a guest that powers itself off is put away by the next command.
  child.once('error', () => {});
  child.unref();
  await log.close();
}
