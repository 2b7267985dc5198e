// holdfast vm restore SNAPSHOT [VMID]: a virtual machine out of a snapshot, whole, disk by disk, or running from it at once.
import { type Command, Option } from 'commander';
import { findLiveRestore } from '../../agent/qemu/restore-journal.ts';
import { liveRestoreVm, resumeLiveRestore } from '../../agent/qemu/restore-live.ts';
import type { RestoredVm } from '../../agent/qemu/restore-request.ts';
import { restoreSingleDisks } from '../../agent/qemu/restore-single-disks.ts';
import type { VmSnapshot } from '../../agent/qemu/restore-source.ts';
import { restoreVm } from '../../agent/qemu/restore-vm.ts';
import { describeStore } from '../../datastore/describe-store.ts';
import { type GuestNode, openGuestNode } from '../../guests/guest-node.ts';
import type { ImageFormat } from '../../guests/storage/storage.ts';
import { type GuestId, parseGuestId, requireStorageId } from '../../schema/guest-names.ts';
import { formatTime, parseSnapshotRef } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { formatBytes } from '../../util/format-bytes.ts';
import { addReadKeyOptions, findTrusted, type KeyOptions, readKey } from '../client-key.ts';
import { addNodeOption, type NodeOptions, nodeDirectoryOf, reportOf } from '../node-option.ts';
import { withRepository } from '../open-repository.ts';
import { formatDuration, pairs } from '../output.ts';
import { workerCount } from '../repository.ts';
import { atTerminal, type Surroundings } from '../surroundings.ts';
import { wholeNumber } from '../whole-number.ts';

export interface VmRestoreOptions extends KeyOptions, NodeOptions {
  readonly storage?: string;
  readonly format?: ImageFormat;
  readonly force?: boolean;
  readonly unique?: boolean;
  readonly start?: boolean;
  readonly liveRestore?: boolean;
  readonly resume?: boolean;
  readonly disk?: readonly string[];
  readonly bwlimit?: string;
}

const MAX_KIB_PER_SECOND = 1 << 30;

export function addVmRestoreCommand(vm: Command): void {
  addOptions(vm.command('restore'));
}

/** Proxmox's name of it. */
export function addQmRestoreCommand(program: Command): void {
  addOptions(program.command('qmrestore', { hidden: true }));
}

function addOptions(command: Command): void {
  addReadKeyOptions(addNodeOption(command))
    .description('make a virtual machine of this host out of a snapshot')
    .argument('[SNAPSHOT]', 'vm/101/latest or vm/101/2026-11-20T02:00:00Z; none with --resume')
    .argument('[VMID]', "of the guest to make (default: the snapshot's)")
    .option('--storage <STORAGE>', 'where its disks are made (default: storages of the names that it had)')
    .addOption(new Option('--format <FORMAT>', 'of its disks (default: what each was)').choices(['raw', 'qcow2']))
    .option('--force', 'in place of the stopped guest, or the disk, that is there')
    .option('--unique', 'give it new MAC addresses and a new UUID')
    .option('--start', 'start it when it is whole')
    .option('--live-restore', 'start it at once, and copy its disks while it runs')
    .option('--bwlimit <KIB>', 'KiB a second that a live restore copies at most')
    .option('--resume', 'go on with the live restore of VMID that was cut off')
    .option('--disk <DISK...>', 'restore only these, such as scsi0, into the guest that is there, as unused disks')
    .option('--workers <N>', 'worker threads (default: one per processor)')
    .action(async (first: string | undefined, second: string | undefined, _, command: Command) => {
      const options: VmRestoreOptions = command.optsWithGlobals();
      await atTerminal(options, async (around) => await performVmRestore(first, second, options, around));
    });
}

/** @throws what the restores do. */
export async function performVmRestore(
  first: string | undefined,
  second: string | undefined,
  options: VmRestoreOptions,
  around: Surroundings,
): Promise<void> {
  requireSense(options, first, second);
  const started = performance.now();
  const node = await openGuestNode(nodeDirectoryOf(options));
  const { id, snapshotText, resumes } = await whatToDo(node, first, second, options);
  const restored = await withVmSnapshot(snapshotText, options, around, async (snapshot) => {
    const shared = {
      node,
      id,
      snapshot,
      report: reportOf(around),
      signal: around.signal,
      onProgress: around.onProgress,
    };
    const onRunning = (): void =>
      around.note(`VM ${id} runs, and depends on this process until its disks are copied; Ctrl-C stops and removes it`);
    if (resumes) return await resumeLiveRestore({ ...shared, onRunning });
    const request = {
      ...shared,
      storage: options.storage === undefined ? undefined : requireStorageId(options.storage),
      format: options.format,
      force: options.force === true,
      unique: options.unique === true,
      start: options.start === true,
    };
    if (options.disk !== undefined) return await restoreSingleDisks({ ...request, keys: options.disk });
    if (options.liveRestore !== true) return await restoreVm(request);
    const kib = options.bwlimit && wholeNumber('--bwlimit', options.bwlimit, 0, MAX_KIB_PER_SECOND);
    return await liveRestoreVm({ ...request, bytesPerSecond: kib ? kib * 1024 : undefined, onRunning });
  });
  around.endProgress();
  around.tell(
    { vmid: id, snapshot: snapshotText, ...restored, durationMs: Math.round(performance.now() - started) },
    describe,
  );
}

function requireSense(options: VmRestoreOptions, first: string | undefined, second: string | undefined): void {
  const refuse = (problem: string): never => {
    throw new HoldfastError('bad-argument', problem);
  };
  const { resume, disk, liveRestore, start, unique, bwlimit } = options;
  if (first === undefined)
    refuse(
      resume === true ? 'name the VMID: holdfast vm restore --resume 101' : 'name a snapshot, such as vm/101/latest',
    );
  if (resume === true && second !== undefined) refuse('--resume takes a VMID alone; what it is restored from is known');
  if (disk !== undefined && (liveRestore || start || unique))
    refuse('--disk restores disks of a guest that is there: it goes without --live-restore, --start and --unique');
  if (bwlimit !== undefined && liveRestore !== true)
    refuse('--bwlimit is for --live-restore; for others set --limit-download');
}

interface Task {
  readonly id: GuestId;
  readonly snapshotText: string;
  readonly resumes: boolean;
}

/** The same command again goes on with a live restore, as --resume does. */
async function whatToDo(
  node: GuestNode,
  first = '',
  second: string | undefined,
  { resume, liveRestore }: VmRestoreOptions,
): Promise<Task> {
  if (resume === true) {
    const id = parseGuestId(first);
    const state = await findLiveRestore(node, id);
    if (state === undefined) throw new HoldfastError('not-found', `VM ${id} has no live restore that is not done`);
    return { id, snapshotText: state.snapshot, resumes: true };
  }
  const { group, time } = parseSnapshotRef(first);
  const [type, name = ''] = group.split('/');
  if (type !== 'vm')
    throw new HoldfastError(
      'bad-argument',
      `${group} holds no backups of virtual machines; name a snapshot of vm/VMID`,
    );
  const id = parseGuestId(second ?? name);
  const state = await findLiveRestore(node, id);
  if (state === undefined) return { id, snapshotText: first, resumes: false };
  const isThat =
    time === undefined ? state.snapshot.startsWith(`${group}/`) : state.snapshot === `${group}/${formatTime(time)}`;
  if (liveRestore === true && isThat) return { id, snapshotText: state.snapshot, resumes: true };
  throw new HoldfastError(
    'guest-locked',
    `VM ${id} runs from ${state.snapshot} and is not whole yet: go on with holdfast vm restore --resume ${id}`,
    { data: { vmid: id } },
  );
}

/** Opens a snapshot of a virtual machine for reading, in a directory or at a server. */
async function withVmSnapshot<Result>(
  text: string,
  options: VmRestoreOptions,
  around: Surroundings,
  use: (snapshot: VmSnapshot) => Promise<Result>,
): Promise<Result> {
  const key = await readKey(options, around);
  const workers = workerCount(options);
  return await withRepository(
    options,
    async (repository) => {
      const found = await findTrusted(repository, text, options, key, around.warn);
      const { client, server } = found.manifest;
      const { averageBytes } = await repository.ask(describeStore, {});
      const bytes = client.archives.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      const objects = await repository.open([found], key, { lookups: Math.ceil(bytes / averageBytes), workers });
      const pool = await objects.pool();
      return await use({
        name: `${client.backup}/${formatTime(server.time)}`,
        archives: client.archives,
        space: server.space,
        pool,
        get: async (_, id) => await objects.get(id),
        reopen:
          objects.reopen &&
          (async () => {
            await objects.reopen?.();
            around.note('the session at the server was lost; the snapshot is open again');
          }),
      });
    },
    around,
    workers,
  );
}

interface Told extends RestoredVm {
  readonly vmid: GuestId;
  readonly snapshot: string;
  readonly durationMs: number;
}

function describe({ vmid, snapshot, disks, durationMs }: Told): string {
  return pairs([
    ['restored', `${snapshot} as VM ${vmid}`],
    ...disks.map(({ key, volume, sizeBytes }): [string, string] => [key, `${volume} (${formatBytes(sizeBytes)})`]),
    ['time', formatDuration(durationMs)],
  ]);
}
