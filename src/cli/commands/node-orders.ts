// holdfast node backup | restore: has the agent of a host do it, and follows the task at the server until its end.
import { type Command, Option } from 'commander';
import { Type } from 'typebox';
import { isServerAddress } from '../../transport/client/repository-address.ts';
import { taskOutcome } from '../../transport/client/task-watch.ts';
import type { Order } from '../../transport/control/orders.ts';
import { HoldfastError } from '../../util/errors.ts';
import { pairs, printable } from '../output.ts';
import { type CommonOptions, repositoryText } from '../repository.ts';
import { atTerminal } from '../surroundings.ts';
import { addTreeOptions, type TreeCommandOptions } from '../tree-options.ts';
import {
  addGuestBackupOptions,
  addGuestRestoreOptions,
  type GuestBackupOptions,
  type GuestRestoreOptions,
  guestBackupMembers,
  guestRestoreMembers,
  numberOf,
} from './node-guest-options.ts';
import { addTreeRestoreOptions, type TreeRestoreOptions } from './restore-tree.ts';

interface NodeBackupOptions extends CommonOptions, TreeCommandOptions, GuestBackupOptions {
  readonly group?: string;
  readonly changedSince?: string;
  readonly time?: string;
  readonly compressionLevel?: string;
}

interface NodeRestoreOptions extends CommonOptions, TreeRestoreOptions, GuestRestoreOptions {
  readonly tar?: boolean;
  readonly zstd?: boolean;
}

export function addNodeOrderCommands(node: Command): void {
  const backups = addTreeOptions(
    node
      .command('backup')
      .description('have a host back up paths of its own; --repository names the server and the datastore')
      .argument('<NODE>')
      .argument('[ARCHIVE:PATH...]', 'as with holdfast backup; paths are those of the host. None with --vm')
      .option('--group <TYPE/ID>', 'vm/101, ct/200 or host/name')
      .option('--changed-since <FILE>', 'change map, a file of the host')
      .option('--time <TIME>', 'label of the snapshot, RFC 3339 or Unix seconds')
      .option('--compression-level <N>', 'zstd level')
      .option('--workers <N>', 'worker threads there (default: one per processor)'),
  );
  addGuestBackupOptions(backups).action(
    async (name: string, archives: string[], _, each: Command) => await backup(name, archives, each.optsWithGlobals()),
  );
  const restores = addTreeRestoreOptions(
    node
      .command('restore')
      .description('have a host restore an archive to a path of its own, which its agent must allow')
      .argument('<NODE>')
      .argument('<SNAPSHOT>', 'vm/101/latest or vm/101/2026-11-20T02:00:00Z')
      .argument('[ARCHIVE]', 'disk0.img; none with --vm')
      .argument('[TARGET]', 'an absolute path of the host; none with --vm')
      .option('--tar', 'the target is a tar archive to be made of a file tree')
      .option('--zstd', 'compress the tar archive, whatever its name')
      .option('--overwrite', 'write over a file or device that is not empty')
      .addOption(
        new Option('--damaged <HOW>', 'what to do where data is lost: end, or write zeros there and say where').choices(
          ['refuse', 'zero'],
        ),
      )
      .option('--workers <N>', 'worker threads there (default: one per processor)'),
  );
  addGuestRestoreOptions(restores).action(
    async (name: string, snapshot: string, archive: string | undefined, target: string | undefined, _, each: Command) =>
      await restore(name, { snapshot, archive, target }, each.optsWithGlobals()),
  );
}

async function backup(node: string, archives: readonly string[], options: NodeBackupOptions): Promise<void> {
  if (options.vm !== undefined) return await order(node, 'vm-backup', options, guestBackupMembers(archives, options));
  if (options.group === undefined || archives.length === 0)
    throw new HoldfastError('bad-argument', 'name archives and their --group, or a virtual machine: --vm 100');
  await order(node, 'backup', options, {
    group: options.group,
    archives,
    'changed-since': options.changedSince,
    time: options.time,
    'compression-level': numberOf('--compression-level', options.compressionLevel),
    exclude: options.exclude,
    'exclude-preset': options.excludePreset,
    'include-dev': options.includeDev,
    'all-file-systems': options.allFileSystems,
    'change-detection': options.changeDetection,
    'map-uid': options.mapUid,
    'map-gid': options.mapGid,
    'limit-upload': numberOf('--limit-upload', options.limitUpload),
  });
}

async function restore(
  node: string,
  place: { readonly snapshot: string; readonly archive: string | undefined; readonly target: string | undefined },
  options: NodeRestoreOptions,
): Promise<void> {
  if (options.vm !== undefined) return await order(node, 'vm-restore', options, guestRestoreMembers(place, options));
  if (place.archive === undefined || place.target === undefined)
    throw new HoldfastError(
      'bad-argument',
      'name the archive and the target, or the virtual machine to make: --vm 101',
    );
  await order(node, 'restore', options, {
    ...place,
    tar: options.tar,
    zstd: options.zstd,
    overwrite: options.overwrite,
    existing: options.existing,
    damaged: options.damaged,
    path: options.path,
    include: options.include,
    devices: options.devices,
    'map-uid': options.mapUid,
    'map-gid': options.mapGid,
    'limit-download': numberOf('--limit-download', options.limitDownload),
  });
}

/** Gives the order, shows the log of its task, and ends as the task does. Ctrl-C stops the task. */
async function order(
  node: string,
  kind: Order['kind'],
  options: CommonOptions,
  members: Readonly<Record<string, unknown>>,
): Promise<void> {
  const repository = repositoryText(options);
  if (!isServerAddress(repository))
    throw new HoldfastError(
      'bad-argument',
      'nodes are those of a server: give --repository https://USER@REALM!TOKEN@HOST:PORT/STORE',
    );
  const { openLine } = await import('../admin/server-line.ts');
  const { line, store } = await openLine(options, repository);
  try {
    await atTerminal(options, async (around) => {
      const { signal } = around;
      const body = {
        store,
        ...(options.ns !== undefined && { ns: options.ns }),
        ...(options.workers !== undefined && { workers: numberOf('--workers', options.workers) }),
        ...Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)),
      };
      const path = `/nodes/${encodeURIComponent(node)}/${kind}`;
      const upid = await line.call('POST', path, body, Type.String(), { signal, patienceMs: 0 });
      const result = await taskOutcome(line, `the ${kind} at ${node}`, upid, Type.Unknown(), {
        signal,
        onProgress: (what, done, total) => around.onProgress(what, done, total),
        // With text they are in the log.
        warn: (message) => (options.outputFormat === 'text' ? undefined : around.warn(message)),
        onLine: (text) => {
          around.endProgress();
          if (options.outputFormat === 'text') process.stdout.write(`${printable(text)}\n`);
        },
      });
      around.tell({ upid, node, result }, () => pairs([['task', upid]]));
    });
  } finally {
    await line.close();
  }
}
