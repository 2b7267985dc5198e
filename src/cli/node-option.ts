// What commands that work on the guests of this host share: where the node keeps them, and how an operation's lines are shown.
import type { Command } from 'commander';
import type { Report } from '../guests/guest-node.ts';
import { defaultNodeDirectory } from '../guests/node-directory.ts';
import type { Surroundings } from './surroundings.ts';

export interface NodeOptions {
  readonly nodeDir?: string;
}

export function addNodeOption(command: Command): Command {
  return command.option(
    '--node-dir <DIR>',
    "where this host keeps its guests (or set HOLDFAST_NODE_DIR; default: /var/lib/holdfast-node for root, else the user's own)",
  );
}

export function nodeDirectoryOf({ nodeDir }: NodeOptions): string {
  return nodeDir ?? (process.env.HOLDFAST_NODE_DIR || defaultNodeDirectory());
}

export function reportOf(around: Surroundings): Report {
  return { log: around.note, warn: around.warn };
}
