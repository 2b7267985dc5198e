// holdfast snapshot list | show | forget | protect | note
import type { Command } from 'commander';
import { readAccounting } from '../../datastore/accounting/accounting-file.ts';
import { type GroupStore, type SnapshotName, snapshotLabel } from '../../datastore/snapshots/group-store.ts';
import { changeSnapshot, forgetSnapshot } from '../../datastore/snapshots/snapshot-operations.ts';
import type { Accounting } from '../../schema/accounting-file.ts';
import type { Manifest } from '../../schema/manifest.ts';
import { formatTime, parseGroup } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { findSnapshot, resolveSnapshot } from '../find-snapshot.ts';
import { operate } from '../operate.ts';
import { formatBytes, pairs, print, table } from '../output.ts';
import { type CommonOptions, namespaceOf, repositoryPath, warn, withReadDatastore } from '../repository.ts';
import { addDiffCommand } from './snapshot-diff.ts';

const MAX_NOTE_LENGTH = 65_536;

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
    .command('note')
    .description('write a note to a snapshot; an empty text removes it')
    .argument('<SNAPSHOT>')
    .argument('<TEXT>')
    .action(
      async (text: string, notes: string, _, command: Command) =>
        await change(text, { notes: checkNote(notes) }, command.optsWithGlobals()),
    );
}

/** A longer note than the schema of the manifest takes would make a snapshot that nobody can read any more. */
function checkNote(notes: string): string {
  if (notes.length <= MAX_NOTE_LENGTH) return notes;
  throw new HoldfastError('too-large', `a note takes at most ${MAX_NOTE_LENGTH} characters, not ${notes.length}`);
}

interface Listed {
  readonly snapshot: string;
  readonly time: number;
  readonly sequence: number | null;
  readonly owner: string | null;
  readonly bytes: number | null;
  /** What its session stored on disk. */
  readonly bytesStored: number | null;
  /** What only it needs, as of the last accounting. */
  readonly bytesUnique: number | null;
  readonly archives: readonly string[];
  readonly protected: boolean;
  readonly suspectClock: boolean;
  readonly damaged: boolean;
  readonly notes: string;
  /** Why the manifest cannot be used, when it cannot. */
  readonly error: string | null;
}

async function list(groupText: string | undefined, options: CommonOptions): Promise<void> {
  const ns = namespaceOf(options);
  const rows = await withReadDatastore(repositoryPath(options), async ({ groups, layout }) => {
    const unique = new Map(
      (await readAccounting(layout))?.snapshots.map((row) => [`${row.ns}|${row.group}|${row.time}`, row.bytesUnique]),
    );
    const wanted = groupText === undefined ? await groups.groups(ns) : [parseGroup(groupText)];
    const found: Listed[] = [];
    for (const group of wanted) {
      for (const time of await groups.times(ns, group)) {
        const row = await listed(groups, { ns, group, time });
        if (row !== undefined) found.push({ ...row, bytesUnique: unique.get(`${ns}|${group}|${time}`) ?? null });
      }
    }
    return found.sort((a, b) => a.time - b.time);
  });
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

/** Undefined when the directory holds no manifest: not a snapshot. */
async function listed(groups: GroupStore, name: SnapshotName): Promise<Listed | undefined> {
  const base = { snapshot: snapshotLabel(name), time: name.time };
  const nothing = {
    sequence: null,
    owner: null,
    bytes: null,
    bytesStored: null,
    bytesUnique: null,
    archives: [],
    protected: false,
    suspectClock: false,
    damaged: true,
    notes: '',
  };
  let manifest: Manifest | undefined;
  try {
    manifest = await groups.manifest(name);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'manifest-altered') throw error;
    return { ...base, ...nothing, error: error.message };
  }
  if (manifest === undefined) return undefined;
  const { client, server } = manifest;
  return {
    ...base,
    sequence: server.sequence,
    owner: server.owner,
    bytes: client.archives.reduce((sum, archive) => sum + archive.sizeBytes, 0),
    bytesStored: server.bytesStored ?? null,
    bytesUnique: null,
    archives: client.archives.map((archive) => archive.name),
    protected: server.protected,
    suspectClock: server.suspectClock,
    damaged: server.damaged,
    notes: server.notes,
    error: null,
  };
}

function marks(row: Listed): string {
  const names = { protected: row.protected, 'clock?': row.suspectClock, damaged: row.damaged };
  return Object.entries(names)
    .filter(([, on]) => on)
    .map(([name]) => name)
    .join(' ');
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}

async function show(text: string, options: CommonOptions): Promise<void> {
  const { name, manifest, accounting } = await withReadDatastore(repositoryPath(options), async (store) => ({
    ...(await findSnapshot(store.groups, text, options)),
    accounting: await readAccounting(store.layout),
  }));
  const space = {
    bytesUnique: uniqueBytes(accounting, name),
    accountedAt: accounting?.time ?? null,
  };
  print(
    options.outputFormat,
    { snapshot: snapshotLabel(name), ...manifest.client, ...manifest.server, ...space },
    (value) => {
      const rows: [string, string][] = [
        ['snapshot', value.snapshot],
        ['sequence', String(value.sequence)],
        ['owner', value.owner],
        ['base', value.base?.snapshot ?? 'none'],
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
        [
          'clock',
          value.suspectClock
            ? `suspect (label ${formatTime(value.time)}, client said ${value.clientTime})`
            : 'plausible',
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
    },
  );
}

/** What forgetting it alone would free, as of the last accounting. */
function uniqueBytes(accounting: Accounting | undefined, { ns, group, time }: SnapshotName): number | null {
  const row = accounting?.snapshots.find((each) => each.ns === ns && each.group === group && each.time === time);
  return row?.bytesUnique ?? null;
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
  return await withReadDatastore(repositoryPath(options), ({ groups }) => resolveSnapshot(groups, text, options));
}
