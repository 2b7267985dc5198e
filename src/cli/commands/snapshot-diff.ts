// holdfast snapshot diff: which ranges of a disk, or which files of a tree, differ between two snapshots, written as they are found.
import type { Command } from 'commander';
import { rootOf } from '../../agent/tree/browse/describe-entry.ts';
import { diffArchives, type Extent, type ExtentKind, pageBytesOf } from '../../datastore/accounting/extent-diff.ts';
import { snapshotLabel } from '../../datastore/snapshots/group-store.ts';
import type { Archive, Manifest } from '../../schema/manifest.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import { HoldfastError } from '../../util/errors.ts';
import { formatBytes } from '../../util/format-bytes.ts';
import { addReadKeyOptions, findTrusted, type KeyOptions, readKey } from '../client-key.ts';
import { interruptSignal } from '../interrupt.ts';
import { withRepository } from '../open-repository.ts';
import { printable } from '../output.ts';
import { type CommonOptions, warn } from '../repository.ts';
import { StreamOutput } from '../stream-output.ts';
import { writeTreeDiff } from '../tree-diff-output.ts';

/** Objects that a diff looks up, at most a few lists and pages for each extent: the index stays on disk. */
const EXPECTED_LOOKUPS = 1000;

export function addDiffCommand(snapshot: Command): void {
  addReadKeyOptions(snapshot.command('diff'))
    .description('ranges of a disk, or files of a tree, that differ between two snapshots')
    .argument('<BEFORE>')
    .argument('<AFTER>')
    .argument('[ARCHIVE]', 'needed when the snapshots have several disks or trees')
    .action(
      async (before: string, after: string, archive: string | undefined, _, command: Command) =>
        await diff(before, after, archive, command.optsWithGlobals()),
    );
}

async function diff(
  beforeText: string,
  afterText: string,
  archiveName: string | undefined,
  options: KeyOptions,
): Promise<void> {
  const key = await readKey(options);
  const interrupt = interruptSignal();
  try {
    await withRepository(options, async (repository) => {
      const before = await findTrusted(repository, beforeText, options, key);
      const after = await findTrusted(repository, afterText, options, key);
      const name = archiveName ?? onlyDisk(before.manifest, after.manifest);
      const archives = { before: archiveOf(before.manifest, name), after: archiveOf(after.manifest, name) };
      requireComparable(before.manifest, after.manifest, archives.before, archives.after);
      const head = {
        before: snapshotLabel(before.name),
        after: snapshotLabel(after.name),
        archive: name,
        bytesBefore: archives.before.sizeBytes,
        bytesAfter: archives.after.sizeBytes,
      };
      const { get } = await repository.open([before, after], key, { lookups: EXPECTED_LOOKUPS, workers: 1 });
      if (archives.after.kind === 'tree') {
        const [old, fresh] = [rootOf(archives.before), rootOf(archives.after)];
        await writeTreeDiff(head, get, old, fresh, options.outputFormat, interrupt.signal);
        return;
      }
      const cut = {
        pageBytes: pageBytesOf(archives.after),
        averageChunkBytes: archives.after.chunker?.averageBytes ?? null,
      };
      const extents = diffArchives(archives.before, archives.after, get);
      await write({ ...head, ...cut }, extents, options, interrupt.signal);
    });
  } finally {
    interrupt.stop();
  }
}

/** JSON is one object whose extents stand a line each; text is a table without a bottom, and the sums under it. */
async function write(
  head: Readonly<Record<string, string | number | null>>,
  extents: AsyncIterable<Extent>,
  { outputFormat }: CommonOptions,
  signal: AbortSignal,
): Promise<void> {
  const isText = outputFormat === 'text';
  const bytes: Record<ExtentKind, number> = { changed: 0, zeroed: 0, added: 0, removed: 0 };
  let count = 0;
  const output = new StreamOutput(signal);
  output.add(
    isText
      ? `${printable(`${head.before} -> ${head.after}, ${head.archive}`)}; exact to the chunk\n${'offset'.padStart(16)}  ${'length'.padStart(16)}  kind\n`
      : `${JSON.stringify(head).slice(0, -1)},"granularity":"chunk","extents":[`,
  );
  for await (const extent of extents) {
    const { offset, length, kind } = extent;
    output.add(
      isText
        ? `${String(offset).padStart(16)}  ${String(length).padStart(16)}  ${kind}\n`
        : `${count === 0 ? '' : ','}\n${JSON.stringify(extent)}`,
    );
    bytes[kind] += length;
    count++;
    await output.pass();
  }
  const sums = Object.entries(bytes).map(([kind, sum]) => `${formatBytes(sum)} ${kind}`);
  output.add(
    isText ? `${count} extents: ${sums.join(', ')}\n` : `\n],"count":${count},"bytes":${JSON.stringify(bytes)}}\n`,
  );
  await output.flush();
}

function onlyDisk(before: Manifest, after: Manifest): string {
  const disks = after.client.archives.filter(({ kind }) => kind !== 'blob');
  if (disks.length === 1) return (disks[0] as Archive).name;
  throw new HoldfastError(
    'bad-argument',
    `which archive of ${before.client.backup}? Name one of ${after.client.archives.map(({ name }) => name).join(', ')}`,
  );
}

function archiveOf({ client, server }: Manifest, name: string): Archive {
  const archive = client.archives.find((each) => each.name === name);
  if (archive !== undefined) return archive;
  const names = client.archives.map((each) => each.name).join(', ');
  throw new HoldfastError('not-found', `snapshot ${server.sequence} of the group has no ${name}; it has ${names}`);
}

function requireComparable(before: Manifest, after: Manifest, old: Archive, fresh: Archive): void {
  if (before.server.space !== after.server.space)
    throw new HoldfastError('bad-argument', 'the snapshots are of different owners or keys: nothing can be compared');
  if ((old.kind === 'blob') !== (fresh.kind === 'blob'))
    throw new HoldfastError('bad-argument', `${fresh.name} is a disk in one snapshot and a small file in the other`);
  if ((old.kind === 'tree') !== (fresh.kind === 'tree'))
    throw new HoldfastError('bad-argument', `${fresh.name} is a file tree in one snapshot and a disk in the other`);
  if (canonicalJson(old.chunker ?? null) !== canonicalJson(fresh.chunker ?? null))
    warn(`${fresh.name} was cut in different ways, so that equal bytes count as changed`);
}
