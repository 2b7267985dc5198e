// holdfast vm backup VMID: a virtual machine of this host becomes a snapshot, while it runs.
import { hostname } from 'node:os';
import { type Command, Option } from 'commander';
import type { Session } from '../../agent/backup/session.ts';
import { type BackupMode, backupVm } from '../../agent/qemu/backup-vm.ts';
import { targetOf } from '../../guests/bitmaps/bitmap-names.ts';
import { type GuestNode, openGuestNode } from '../../guests/guest-node.ts';
import { type GuestId, parseGuestId } from '../../schema/guest-names.ts';
import { parseGroup, parseTime } from '../../schema/names.ts';
import { addKeyOptions } from '../client-key.ts';
import { lowerPriority } from '../low-priority.ts';
import { addSnapshotOptions, makeSnapshot, type SnapshotOptions } from '../make-snapshot.ts';
import { markSnapshot } from '../mark-snapshot.ts';
import { addNodeOption, type NodeOptions, nodeDirectoryOf, reportOf } from '../node-option.ts';
import { checkNote } from '../note.ts';
import { checkNotesTemplate, fillNotesTemplate } from '../notes-template.ts';
import { optimizeLate } from '../optimize-late.ts';
import { parseSize } from '../parse-size.ts';
import { namespaceOf, repositoryText } from '../repository.ts';
import { atTerminal, type Surroundings } from '../surroundings.ts';
import { wholeNumber } from '../whole-number.ts';

export interface VmBackupOptions extends SnapshotOptions, NodeOptions {
  readonly mode: BackupMode;
  readonly fleecingStorage?: string;
  readonly fleecingLimit?: string;
  readonly bwlimit?: string;
  readonly lockwait: string;
  readonly time?: string;
  readonly script?: string;
  readonly protected?: boolean;
  readonly notesTemplate?: string;
  readonly ionice: string;
}

/** Proxmox's default is three hours, for a job that goes from guest to guest. */
export const DEFAULT_LOCKWAIT_MINUTES = 180;
const MAX_LOCKWAIT_MINUTES = 100_000;
const MAX_KIB_PER_SECOND = 1 << 30;
/** Proxmox's. */
export const DEFAULT_IO_PRIORITY = 7;

export function addVmBackupCommand(vm: Command): void {
  const command = addKeyOptions(addNodeOption(vm.command('backup')))
    .description('back up a virtual machine of this host; only what it wrote since the last backup is read')
    .argument('<VMID>')
    .addOption(
      new Option(
        '--mode <MODE>',
        'snapshot: it goes on running; suspend: paused for the instant; stop: shut down for it',
      )
        .choices(['snapshot', 'suspend', 'stop'])
        .default('snapshot'),
    )
    .option('--fleecing-storage <STORAGE>', "where what the guest overwrites meanwhile goes (default: each disk's own)")
    .option('--fleecing-limit <SIZE>', 'what that may take at most (default: what is free there)')
    .option('--bwlimit <KIB>', 'KiB a second to read from the disks at most')
    .option(
      '--lockwait <MINUTES>',
      'how long to wait for another operation of the guest',
      `${DEFAULT_LOCKWAIT_MINUTES}`,
    )
    .option('--script <PATH>', "called at each phase of the backup, as vzdump's")
    .option('--protected', 'the snapshot is protected: neither forget nor prune removes it')
    .option(
      '--notes-template <TEXT>',
      'note of the snapshot; {{guestname}}, {{vmid}}, {{node}} and {{cluster}} are filled in',
    )
    .option(
      '--ionice <LEVEL>',
      'priority of its reading, 0 to 7, or 8: when nobody else reads',
      `${DEFAULT_IO_PRIORITY}`,
    )
    .option('--time <TIME>', 'label of the snapshot, RFC 3339 or Unix seconds')
    .action(async (vmid: string, _, command: Command) => {
      const options: VmBackupOptions = command.optsWithGlobals();
      await atTerminal(options, async (around) => await performVmBackup(vmid, options, around));
    });
  addSnapshotOptions(command);
}

/** @throws what `backupVm` does. */
export async function performVmBackup(vmid: string, options: VmBackupOptions, outside: Surroundings): Promise<void> {
  const around = await lowerPriority(outside, wholeNumber('--ionice', options.ionice, 0, 8));
  const id = parseGuestId(vmid);
  const group = parseGroup(`vm/${id}`);
  const node = await openGuestNode(nodeDirectoryOf(options));
  const kib = options.bwlimit && wholeNumber('--bwlimit', options.bwlimit, 0, MAX_KIB_PER_SECOND);
  const request = {
    node,
    id,
    mode: options.mode,
    fleeceStorage: options.fleecingStorage,
    fleeceLimitBytes:
      options.fleecingLimit === undefined ? undefined : parseSize(options.fleecingLimit, '--fleecing-limit'),
    bytesPerSecond: kib ? kib * 1024 : undefined,
    waitMs: wholeNumber('--lockwait', options.lockwait, 0, MAX_LOCKWAIT_MINUTES) * 60_000,
    ...(options.script !== undefined && {
      hook: { script: options.script, environment: hookEnvironment(options, group) },
    }),
    report: reportOf(around),
    signal: around.signal,
  };
  const time = options.time === undefined ? undefined : parseTime(options.time);
  const marks = { notes: await noteOf(options.notesTemplate, node, id), isProtected: options.protected === true };
  let madeAt: number | undefined;
  await makeSnapshot(options, around, group, async ({ storeId, ...parts }, pool, openSession) => {
    const target = targetOf(storeId, namespaceOf(options), group);
    const open = async (): Promise<Session> => {
      const session = await openSession();
      if (around.isOrder !== true) optimizeLate();
      return session;
    };
    const done = await backupVm({ ...request, target, backup: { ...parts, time } }, pool, open);
    madeAt = done.committed.name.time;
    return done;
  });
  if (madeAt !== undefined)
    await markSnapshot({ ns: namespaceOf(options), group, time: madeAt }, marks, options, around);
}

/** STOREID as vzdump has it, and ours. A server's address has no secret in it. */
function hookEnvironment(options: VmBackupOptions, group: string): Record<string, string> {
  const repository = repositoryText(options);
  return {
    STOREID:
      repository
        .split('/')
        .filter((part) => part !== '')
        .at(-1) ?? repository,
    HOLDFAST_REPOSITORY: repository,
    HOLDFAST_NAMESPACE: namespaceOf(options),
    HOLDFAST_GROUP: group,
  };
}

/** Empty without a template. A node of ours is in no cluster: it stands for itself there. */
async function noteOf(template: string | undefined, node: GuestNode, id: GuestId): Promise<string> {
  if (template === undefined) return '';
  checkNotesTemplate(template);
  const { config } = await node.configs.read(id);
  const name = config.values.get('name') ?? `VM ${id}`;
  return checkNote(
    fillNotesTemplate(template, { guestname: name, vmid: String(id), node: hostname(), cluster: hostname() }),
  );
}
