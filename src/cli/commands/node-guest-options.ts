// --vm of holdfast node backup | restore: the order is for a virtual machine of the host, with the options of holdfast vm backup | restore.
import { type Command, Option } from 'commander';
import { parseGuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';

export interface GuestBackupOptions {
  readonly vm?: string;
  readonly mode?: string;
  readonly fleecingStorage?: string;
  readonly fleecingLimit?: string;
  readonly bwlimit?: string;
  readonly lockwait?: string;
  readonly script?: string;
  readonly protected?: boolean;
  readonly notesTemplate?: string;
  readonly ionice?: string;
  readonly time?: string;
  readonly compressionLevel?: string;
  readonly limitUpload?: string;
}

export interface GuestRestoreOptions {
  readonly vm?: string;
  readonly storage?: string;
  readonly format?: string;
  readonly force?: boolean;
  readonly unique?: boolean;
  readonly start?: boolean;
  readonly liveRestore?: boolean;
  readonly bwlimit?: string;
  readonly limitDownload?: string;
}

type Members = Readonly<Record<string, unknown>>;

export function addGuestBackupOptions(command: Command): Command {
  return command
    .option('--vm <VMID>', 'a virtual machine of the host, which its agent must allow; the options below are for it')
    .addOption(new Option('--mode <MODE>', 'as holdfast vm backup').choices(['snapshot', 'suspend', 'stop']))
    .option('--fleecing-storage <STORAGE>', 'a storage of the host')
    .option('--fleecing-limit <SIZE>', 'what may be kept there at most')
    .option('--bwlimit <KIB>', 'KiB a second to read from the disks at most')
    .option('--lockwait <MINUTES>', 'how long to wait for another operation of the guest')
    .option('--script <PATH>', 'a hook script of the host, which its agent must allow')
    .option('--protected', 'the snapshot is protected')
    .option('--notes-template <TEXT>', 'note of the snapshot, with {{guestname}} and the like')
    .option('--ionice <LEVEL>', 'priority of its reading, 0 to 7, or 8');
}

export function addGuestRestoreOptions(command: Command): Command {
  return command
    .option('--vm <VMID>', 'make this virtual machine of it, which the agent must allow; the options below are for it')
    .option('--storage <STORAGE>', 'of the host, for its disks')
    .addOption(new Option('--format <FORMAT>', 'of its disks').choices(['raw', 'qcow2']))
    .option('--force', 'in place of the stopped guest that is there')
    .option('--unique', 'give it new MAC addresses and a new UUID')
    .option('--start', 'start it when it is whole')
    .option('--live-restore', 'start it at once, and copy its disks while it runs')
    .option('--bwlimit <KIB>', 'KiB a second that a live restore copies at most');
}

/** @throws `bad-argument` for archives beside it, and for a VMID that is none. */
export function guestBackupMembers(archives: readonly string[], options: GuestBackupOptions): Members {
  if (archives.length > 0) throw new HoldfastError('bad-argument', '--vm backs up a whole guest: name no archives');
  return {
    vmid: parseGuestId(options.vm ?? ''),
    mode: options.mode,
    'fleecing-storage': options.fleecingStorage,
    'fleecing-limit': options.fleecingLimit,
    bwlimit: numberOf('--bwlimit', options.bwlimit),
    lockwait: numberOf('--lockwait', options.lockwait),
    script: options.script,
    protected: options.protected,
    'notes-template': options.notesTemplate,
    ionice: numberOf('--ionice', options.ionice),
    time: options.time,
    'compression-level': numberOf('--compression-level', options.compressionLevel),
    'limit-upload': numberOf('--limit-upload', options.limitUpload),
  };
}

/** @throws `bad-argument` for an archive beside it, and for a VMID that is none. */
export function guestRestoreMembers(
  { snapshot, archive }: { readonly snapshot: string; readonly archive: string | undefined },
  options: GuestRestoreOptions,
): Members {
  if (archive !== undefined) throw new HoldfastError('bad-argument', '--vm restores a whole guest: name no archive');
  return {
    snapshot,
    newid: parseGuestId(options.vm ?? ''),
    storage: options.storage,
    format: options.format,
    force: options.force,
    unique: options.unique,
    start: options.start,
    'live-restore': options.liveRestore,
    bwlimit: numberOf('--bwlimit', options.bwlimit),
    'limit-download': numberOf('--limit-download', options.limitDownload),
  };
}

/** @throws `bad-argument`. */
export function numberOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isInteger(value)) return value;
  throw new HoldfastError('bad-argument', `${option} takes a whole number, not ${JSON.stringify(text)}`);
}
