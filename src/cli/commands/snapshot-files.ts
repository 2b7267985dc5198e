// holdfast snapshot files | find | cat: looks into a file tree. Lists and searches read metadata only, and hold one part of a directory.
import { type Command, Option } from 'commander';
import { catFile } from '../../agent/tree/browse/cat-file.ts';
import { describeEntry, type EntryFacts } from '../../agent/tree/browse/describe-entry.ts';
import { entryTest } from '../../agent/tree/browse/find-entries.ts';
import { walkTree } from '../../agent/tree/browse/walk-tree.ts';
import { findPath } from '../../agent/tree/read-tree.ts';
import type { Archive } from '../../schema/manifest.ts';
import { parseTime } from '../../schema/names.ts';
import type { ByteString } from '../../util/byte-string.ts';
import { HoldfastError } from '../../util/errors.ts';
import { shownPath } from '../../util/shown-path.ts';
import { addReadKeyOptions } from '../client-key.ts';
import { LostDirectories, writeEntries } from '../entry-list.ts';
import { interruptSignal } from '../interrupt.ts';
import { parseSize } from '../parse-size.ts';
import type { CommonOptions } from '../repository.ts';
import { FEW_LOOKUPS, type TreeArchive, withTreeArchive } from '../tree-archive.ts';
import { parseTreePath } from '../tree-path.ts';
import { errorName } from '../tree-row.ts';

/** Entries of a directory, on average, below which a walk over all of a tree does better with the index in memory. */
const ENTRIES_PER_DIRECTORY = 10;

interface ListOptions extends CommonOptions {
  readonly limit?: string;
}

interface FilesOptions extends ListOptions {
  readonly recursive?: boolean;
}

interface FindOptions extends ListOptions {
  readonly name?: string;
  readonly path?: string;
  readonly type?: string;
  readonly newer?: string;
  readonly older?: string;
  readonly larger?: string;
  readonly maxDepth?: string;
  readonly long?: boolean;
}

export function addFilesCommands(snapshot: Command): void {
  const limit = (): Option => new Option('--limit <N>', 'entries to show at most');
  addReadKeyOptions(snapshot.command('files'))
    .description('what a directory of a file tree holds, as ls -la has it')
    .argument('<SNAPSHOT>')
    .argument('<ARCHIVE>', 'root.tree')
    .argument('[PATH]', 'a directory or file in it; \\xHH is a byte, \\\\ a backslash', '')
    .option('--recursive', 'everything below it')
    .addOption(limit())
    .action(async (text: string, archive: string, path: string, _, command: Command) => {
      await files(text, archive, parseTreePath(path), command.optsWithGlobals());
    });
  addReadKeyOptions(snapshot.command('find'))
    .description('the files of a tree for which all conditions hold')
    .argument('<SNAPSHOT>')
    .argument('<ARCHIVE>', 'root.tree')
    .argument('[PATH]', 'where to begin', '')
    .option('--name <GLOB>', 'the last component: *.conf, img[0-9]?')
    .option('--path <GLOB>', 'the whole path below the top; a star passes slashes')
    .option('--type <TYPES>', 'f file, d directory, l link, b or c device, p pipe, s socket; several: f,l')
    .option('--newer <TIME>', 'modified after, RFC 3339 or Unix seconds')
    .option('--older <TIME>', 'modified before')
    .option('--larger <SIZE>', 'files of more than, such as 100M')
    .option('--max-depth <N>', 'so many levels below PATH')
    .option('--long', 'rows as of files')
    .addOption(limit())
    .action(async (text: string, archive: string, path: string, _, command: Command) => {
      await find(text, archive, parseTreePath(path), command.optsWithGlobals());
    });
  addReadKeyOptions(snapshot.command('cat'))
    .description('the content of a file of a tree, to standard output')
    .argument('<SNAPSHOT>')
    .argument('<ARCHIVE>', 'root.tree')
    .argument('<PATH>')
    .option('--workers <N>', 'worker threads for a large file (default: one per processor)')
    .action(async (text: string, archive: string, path: string, _, command: Command) => {
      await cat(text, archive, parseTreePath(path), command.optsWithGlobals());
    });
}

async function files(text: string, archive: string, path: ByteString, options: FilesOptions): Promise<void> {
  const isRecursive = options.recursive === true;
  const list = { maxDepth: isRecursive ? Number.POSITIVE_INFINITY : 1, isLong: true, test: () => true };
  await listEntries(text, archive, path, list, options);
}

async function find(text: string, archive: string, path: ByteString, options: FindOptions): Promise<void> {
  const test = entryTest({
    name: options.name,
    path: options.path,
    type: options.type,
    newerThanNs: timeNs(options.newer),
    olderThanNs: timeNs(options.older),
    largerThanBytes: options.larger === undefined ? undefined : parseSize(options.larger, '--larger'),
  });
  const list = { maxDepth: count(options.maxDepth, '--max-depth', 0), isLong: options.long === true, test };
  await listEntries(text, archive, path, list, options);
}

async function listEntries(
  text: string,
  archiveName: string,
  path: ByteString,
  { maxDepth, isLong, test }: { maxDepth: number; isLong: boolean; test: ReturnType<typeof entryTest> },
  options: ListOptions,
): Promise<void> {
  const limit = count(options.limit, '--limit', 1);
  const isDeep = maxDepth > 1 && path === '' && limit === Number.POSITIVE_INFINITY;
  const lookups = ({ entries }: Archive): number =>
    isDeep ? Math.max(FEW_LOOKUPS, (entries ?? 0) / ENTRIES_PER_DIRECTORY) : FEW_LOOKUPS;
  const interrupt = interruptSignal();
  try {
    await withTreeArchive(options, text, archiveName, lookups, async ({ snapshot, get, root }) => {
      const start = await findPath(get, root, path);
      const lost = new LostDirectories();
      const found = walkTree(get, start, path, { maxDepth, onLost: lost.note });
      const head = { snapshot, archive: archiveName, path: shownPath(path) };
      const { signal } = interrupt;
      await writeEntries(head, found, test, { format: options.outputFormat, isLong, limit, signal });
      lost.refuse();
    });
  } finally {
    interrupt.stop();
  }
}

async function cat(text: string, archiveName: string, path: ByteString, options: CommonOptions): Promise<void> {
  const interrupt = interruptSignal();
  try {
    await withTreeArchive(
      options,
      text,
      archiveName,
      () => FEW_LOOKUPS,
      async (tree) => {
        const entry = await findPath(tree.get, tree.root, path);
        requireFile(describeEntry(entry), path, tree);
        const { signal } = interrupt;
        await catFile({ entry, space: tree.space, output: process.stdout, signal }, tree.get, tree.pool);
      },
    );
  } finally {
    interrupt.stop();
  }
}

function requireFile({ type, errno, target }: EntryFacts, path: ByteString, { snapshot, archive }: TreeArchive): void {
  const name = path === '' ? 'the top' : shownPath(path);
  if (errno !== 0)
    throw new HoldfastError(
      'not-found',
      `${name} has no content in ${snapshot}: it could not be read for the backup (${errorName(errno)})`,
    );
  if (type === 'f') return;
  const what =
    target !== undefined
      ? `a symbolic link to ${shownPath(target)}, which is not followed`
      : type === 'd'
        ? `a directory; list it with: holdfast snapshot files ${snapshot} ${archive.name}`
        : 'no regular file, and has no content';
  throw new HoldfastError('bad-argument', `${name} is ${what}`);
}

function timeNs(text: string | undefined): bigint | undefined {
  return text === undefined ? undefined : BigInt(parseTime(text)) * 1_000_000_000n;
}

/** A whole number, `least` or more; without the option no limit. */
function count(text: string | undefined, what: string, least: number): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const number = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(number) && number >= least) return number;
  throw new HoldfastError('bad-argument', `${what} takes a whole number from ${least} on, not ${JSON.stringify(text)}`);
}
