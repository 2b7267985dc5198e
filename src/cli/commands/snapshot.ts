// holdfast snapshot list | show | files | find | cat | diff | forget | protect | lock | note
import type { Command } from 'commander';
import { resolveSnapshot } from '../../datastore/snapshots/find-snapshot.ts';
import type { SnapshotName } from '../../datastore/snapshots/group-store.ts';
import { type ListedSnapshot, listSnapshots, showSnapshot } from '../../datastore/snapshots/list-snapshots.ts';
import { changeSnapshot, forgetSnapshot, lockSnapshot } from '../../datastore/snapshots/snapshot-operations.ts';
import { formatTime, parseGroup } from '../../schema/names.ts';
import { durationText, parseDurationMs } from '../../util/duration.ts';
import { formatBytes } from '../../util/format-bytes.ts';
import { checkNote } from '../note.ts';
import { ask } from '../open-repository.ts';
import { operate } from '../operate.ts';
import { pairs, print, table } from '../output.ts';
import { type CommonOptions, namespaceOf, snapshotRequest, warn } from '../repository.ts';
import { addDiffCommand } from './snapshot-diff.ts';
import { addFilesCommands } from './snapshot-files.ts';

export function addSnapshotCommands(program: Command): void {
  const snapshot = program.command('snapshot').description('list, show and change snapshots');
  snapshot
    .command('list')
    .description('snapshots, oldest first')
    .argument('[TYPE/ID]', 'only this group')
    .action(async (group: string | undefined, _, command: Command) => await list(group, command.optsWithGlobals()));
  snapshot
    .command('show')
    .description('one snapshot in full')
    .argument('<SNAPSHOT>')
    .action(async (text: string, _, command: Command) => await show(text, command.optsWithGlobals()));
  addFilesCommands(snapshot);
  addDiffCommand(snapshot);
  snapshot
    .command('forget')
    .description('remove a snapshot; its space is freed by garbage collection')
    .argument('<SNAPSHOT>')
    .action(async (text: string, _, command: Command) => await forget(text, command.optsWithGlobals()));
  snapshot
    .command('protect')
    .description('keep a snapshot from being removed')
    .argument('<SNAPSHOT>')
    .option('--off', 'remove the protection')
    .action(async (text: string, options: { off?: boolean }, command: Command) => {
      await change(text, { protected: options.off !== true }, command.optsWithGlobals());
    });
  snapshot
    .command('lock')
    .description('keep a snapshot from being removed for some time; nobody can take that back')
    .argument('<SNAPSHOT>')
    .requiredOption('--for <DURATION>', 'from now on, such as 12h, 30d, 8w, 1y; extends a lock, never shortens it')
    .action(
      async (text: string, options: { for: string }, command: Command) =>
        await lock(text, options.for, command.optsWithGlobals()),
    );
  snapshot
    .command('note')
    .description('write a note to a snapshot; an empty text removes it')
    .argument('<SNAPSHOT>')
    .argument('<TEXT>')
    .action(
      async (text: string, notes: string, _, command: Command) =>
        await change(text, { notes: checkNote(notes) }, command.optsWithGlobals()),
    );
}

async function list(groupText: string | undefined, options: CommonOptions): Promise<void> {
  const group = groupText === undefined ? null : parseGroup(groupText);
  const rows = await ask(options, listSnapshots, { ns: namespaceOf(options), group });
  for (const row of rows) if (row.error !== null) warn(row.error);
  print(options.outputFormat, rows, (all) =>
    table(
      ['snapshot', 'size', 'stored', 'unique', 'archives', 'marks', 'notes'],
      all.map((row) => [
        row.snapshot,
        ...[row.bytes, row.bytesStored, row.bytesUnique].map((bytes) => (bytes === null ? '?' : formatBytes(bytes))),
        row.archives.join(' '),
        marks(row),
        firstLine(row.notes),
      ]),
      new Set(['size', 'stored', 'unique']),
    ),
  );
}

function marks(row: ListedSnapshot): string {
  const names = {
    protected: row.protected,
    locked: row.lockRemainingMs !== null,
    'clock?': row.suspectClock,
    damaged: row.damaged,
    encrypted: row.key !== null,
  };
  return Object.entries(names)
    .filter(([, on]) => on)
    .map(([name]) => name)
    .join(' ');
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}

async function show(text: string, options: CommonOptions): Promise<void> {
  const shown = await ask(options, showSnapshot, snapshotRequest(text, options));
  print(options.outputFormat, shown, (value) => {
    const rows: [string, string][] = [
      ['snapshot', value.snapshot],
      ['sequence', String(value.sequence)],
      ['owner', value.owner],
      ['base', value.base?.snapshot ?? 'none'],
      ['encrypted', value.key === null ? 'no' : `with key ${value.key}`],
      ...(value.recovery === undefined
        ? []
        : [['recovery', `with recovery key ${value.recovery.fingerprint}`] as [string, string]]),
      ['new', `${formatBytes(value.statistics.bytesNew)} in ${value.statistics.objectsNew} objects`],
      ['read', formatBytes(value.statistics.bytesRead)],
      ['stored', value.bytesStored === undefined ? 'not known' : formatBytes(value.bytesStored)],
      [
        'unique',
        value.bytesUnique === null
          ? 'not counted yet; run holdfast datastore account'
          : `${formatBytes(value.bytesUnique)} (counted ${value.accountedAt})`,
      ],
      ['protected', value.protected ? 'yes' : 'no'],
      ['locked', value.lockRemainingMs === null ? 'no' : lockText(value.lockRemainingMs)],
      ['verified', describeProof(value.verified)],
      [
        'clock',
        value.suspectClock ? `suspect (label ${formatTime(value.time)}, client said ${value.clientTime})` : 'plausible',
      ],
      ['notes', value.notes],
    ];
    const archives = value.archives.map((archive) => [
      archive.name,
      archive.kind,
      formatBytes(archive.sizeBytes),
      archive.root,
    ]);
    return `${pairs(rows)}\n\n${table(['archive', 'kind', 'size', 'root'], archives, new Set(['size']))}`;
  });
}

async function lock(text: string, duration: string, options: CommonOptions): Promise<void> {
  const forMs = parseDurationMs(duration, '--for');
  const result = await operate(options, 1, lockSnapshot, { name: await nameOf(text, options), forMs });
  print(options.outputFormat, result, (value) => `${value.snapshot} is locked ${lockText(value.lockRemainingMs)}`);
}

/** The store clock stands still while nobody holds the datastore: only the earliest end is known. */
function lockText(remainingMs: number): string {
  const earliest = formatTime(Math.ceil((Date.now() + remainingMs) / 1000));
  return `for another ${durationText(remainingMs)} of store clock, until ${earliest} at the earliest`;
}

function describeProof(verified: { time: string; damaged: boolean } | null): string {
  if (verified === null) return 'never';
  return verified.damaged
    ? `damaged at ${verified.time}; see: holdfast datastore verify --snapshot`
    : `whole at ${verified.time}`;
}

async function forget(text: string, options: CommonOptions): Promise<void> {
  const result = await operate(options, 1, forgetSnapshot, await nameOf(text, options));
  print(options.outputFormat, result, (value) => `${value.snapshot} is forgotten`);
}

async function change(
  text: string,
  what: { notes?: string; protected?: boolean },
  options: CommonOptions,
): Promise<void> {
  const result = await operate(options, 1, changeSnapshot, { name: await nameOf(text, options), change: what });
  print(
    options.outputFormat,
    result,
    (value) =>
      `${value.snapshot}: ${value.protected ? 'protected' : 'not protected'}${value.notes === '' ? '' : `, ${value.notes}`}`,
  );
}

/** The snapshot that is meant now: `latest` may be another one a moment later. */
async function nameOf(text: string, options: CommonOptions): Promise<SnapshotName> {
  return await ask(options, resolveSnapshot, snapshotRequest(text, options));
}
