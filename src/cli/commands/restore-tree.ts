// holdfast restore host/web/latest root.tree DIRECTORY: the options of trees, and what the user is told.
import { type Command, Option } from 'commander';
import { IdMap } from '../../agent/tree/ids/id-map.ts';
import type { GetObject } from '../../agent/tree/read-tree.ts';
import type { Note, NoteKind, RestoreNotes } from '../../agent/tree/restore/restore-notes.ts';
import { EXISTING_RULES, type ExistingRule } from '../../agent/tree/restore/restore-rules.ts';
import { runRestoreTree, selectsDirectory } from '../../agent/tree/restore/restore-tree.ts';
import { Selection } from '../../agent/tree/restore/selection.ts';
import type { Archive } from '../../schema/manifest.ts';
import { display, fromText } from '../../util/byte-string.ts';
import { HoldfastError } from '../../util/errors.ts';
import { formatBytes } from '../../util/format-bytes.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import { formatDuration, pairs } from '../output.ts';
import type { RestorePlace } from './restore-place.ts';

export interface TreeRestoreOptions {
  readonly overwrite?: boolean;
  readonly existing?: ExistingRule;
  readonly path?: string[];
  readonly include?: string[];
  readonly devices?: boolean;
  readonly mapUid?: string[];
  readonly mapGid?: string[];
  readonly damaged: 'refuse' | 'zero';
}

/** Names that are printed one by one; JSON has up to 1,000 of each kind. */
const SHOWN_NAMES = 20;

const collect = (value: string, before: string[] = []): string[] => [...before, value];

/** Options that only trees have. */
export function addTreeRestoreOptions(command: Command): Command {
  return command
    .option('--path <PATH>', 'of a tree: only this, with all in it (may be repeated)', collect)
    .option(
      '--include <PATTERN>',
      "of a tree: only what matches, such as '*.conf' or 'etc/**' (may be repeated)",
      collect,
    )
    .addOption(
      new Option('--existing <RULE>', 'of a tree: what to do where a name is taken (--overwrite: replace)').choices(
        EXISTING_RULES,
      ),
    )
    .option('--devices', 'of a tree: make device nodes too')
    .option(
      '--map-uid <CONTAINER:HOST:COUNT>',
      'of a tree: user ids of a container on this host; may be repeated',
      collect,
    )
    .option('--map-gid <CONTAINER:HOST:COUNT>', 'the same of groups', collect);
}

/** @throws `bad-argument` when options of trees are given for another kind of archive. */
export function refuseTreeOptions(archive: Archive, options: TreeRestoreOptions): void {
  const { path, include, existing, devices, mapUid, mapGid } = options;
  if ([path, include, existing, devices, mapUid, mapGid].every((option) => option === undefined)) return;
  throw new HoldfastError(
    'bad-argument',
    `${archive.name} is no file tree: --path, --include, --existing, --devices and --map-uid mean nothing for it`,
  );
}

/** Look-ups that the way to some files takes: the index stays on disk. */
const FEW_LOOKUPS = 256;

/** Restores all of a tree, or what is selected, and tells what could not be restored as it was. */
export async function restoreTree(place: RestorePlace, options: TreeRestoreOptions): Promise<void> {
  const { archive, snapshot, target } = place;
  const notes = await restored(place, options);
  place.endProgress();
  warnOf(notes, place.warn);
  const { entries, bytes } = notes;
  const durationMs = place.durationMs();
  const result = { snapshot, archive: archive.name, target, entries, bytes, notes: notesJson(notes), durationMs };
  place.tell(result, describe);
  refuseIncomplete(archive, notes);
}

/** A few files are restored by one thread: to start more would take longer. */
async function restored(place: RestorePlace, options: TreeRestoreOptions): Promise<RestoreNotes> {
  const { archive, target, averageBytes, withObjects } = place;
  if (target === '-')
    throw new HoldfastError(
      'bad-argument',
      `${archive.name} is a file tree: name a directory to restore it to, or give --tar -`,
    );
  const ids = IdMap.parse(options.mapUid ?? [], options.mapGid ?? []);
  const rules = {
    existing: options.existing ?? (options.overwrite === true ? 'replace' : 'refuse'),
    devices: options.devices ?? false,
    zeroLost: options.damaged === 'zero',
    ...(ids === undefined ? {} : { ids: ids.toJSON() }),
  } as const;
  const paths = (options.path ?? []).map(fromText);
  const patterns = (options.include ?? []).map(fromText);
  const selection = paths.length + patterns.length > 0 ? new Selection(paths, patterns) : undefined;
  const run = async (pool: WorkerPool, get: GetObject): Promise<RestoreNotes> =>
    await runRestoreTree({ ...place, rules, selection }, pool, get).catch((error: unknown) => {
      throw explained(error, target);
    });
  if (selection !== undefined && patterns.length === 0) {
    const done = await withObjects(1, FEW_LOOKUPS, async (pool, get) => {
      if (place.workers > 1 && (await selectsDirectory(get, archive, selection))) return undefined;
      return await run(pool, get);
    });
    if (done !== undefined) return done;
  }
  const entries = archive.entries ?? 0;
  const isSmall = entries < 500 && archive.sizeBytes <= averageBytes * 16;
  return await withObjects(isSmall ? 1 : place.workers, entries + Math.ceil(archive.sizeBytes / averageBytes), run);
}

function explained(error: unknown, target: string): unknown {
  if (!(error instanceof HoldfastError) || error.code !== 'aborted') return error;
  return new HoldfastError(
    'aborted',
    `stopped; what is in ${target} is a part, each file in it whole. To go on: the same command with --existing changed`,
    { cause: error },
  );
}

/** What kinds of notes say to people; `first` are examples. */
const WORDS: Readonly<Record<NoteKind, string>> = {
  owner: 'owner not set',
  mode: 'mode not set',
  times: 'modification time not set',
  xattrs: 'extended attributes not set',
  acls: 'ACLs not set',
  attributes: 'file attributes not set',
  device: 'device left out (--devices makes them)',
  unreadable: 'not in the archive, for it could not be read when the backup was made',
  unmade: 'could not be made in the target',
  unmapped:
    'an id has no place on this host and stays as it is in the archive; set-id bits and capabilities are left out',
  copied: 'a file of its own, no hard link',
  kept: 'left as it was there',
  lost: 'lost',
};

/** One warning for each kind and, of some, each name. */
function warnOf(notes: RestoreNotes, warn: RestorePlace['warn']): void {
  for (const kind of Object.keys(WORDS) as NoteKind[]) {
    const count = notes.count(kind);
    if (count === 0) continue;
    const first = notes.examples(kind).slice(0, SHOWN_NAMES);
    for (const note of first) warn(`${display(note.path) || '.'}: ${WORDS[kind]}${detailOf(note)}`);
    if (count > first.length)
      warn(`${WORDS[kind]}: ${count - first.length} more, up to 1,000 of them with --output-format json`);
  }
}

function detailOf({ detail, offset, length }: Note): string {
  if (offset !== undefined) return ` (${length} bytes at ${offset}; zeros stand for them)`;
  return detail === undefined ? '' : ` (${detail})`;
}

/** For JSON: count and examples of each kind that there is. */
function notesJson(notes: RestoreNotes): Record<string, { count: number; first: readonly object[] }> {
  const kinds = (Object.keys(WORDS) as NoteKind[]).filter((kind) => notes.count(kind) > 0);
  return Object.fromEntries(
    kinds.map((kind) => {
      const first = notes.examples(kind).map((note) => ({ ...note, path: display(note.path) }));
      return [kind, { count: notes.count(kind), first }];
    }),
  );
}

interface RestoredTree {
  readonly snapshot: string;
  readonly archive: string;
  readonly target: string;
  readonly entries: number;
  readonly bytes: number;
  readonly notes: ReturnType<typeof notesJson>;
  readonly durationMs: number;
}

function describe(value: RestoredTree): string {
  return pairs([
    ['restored', `${value.archive} of ${value.snapshot}`],
    ['to', value.target],
    ['entries', String(value.entries)],
    ['size', formatBytes(value.bytes)],
    ['time', formatDuration(value.durationMs)],
  ]);
}

/** What was asked for is done, and it is not what was backed up. @throws `object-damaged`, `target-failed`. */
function refuseIncomplete(archive: Archive, notes: RestoreNotes): void {
  const data = { archive: archive.name, notes: notesJson(notes) };
  if (notes.count('lost') > 0)
    throw new HoldfastError(
      'object-damaged',
      `${archive.name} was restored without what is lost, in ${notes.count('lost')} places; look for it in another snapshot or replica`,
      { data },
    );
  if (notes.count('unmade') > 0)
    throw new HoldfastError(
      'target-failed',
      `${notes.count('unmade')} entries of ${archive.name} could not be made in the target; all else was restored`,
      { data },
    );
}
