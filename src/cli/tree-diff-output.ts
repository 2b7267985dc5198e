// The differences of two trees on standard output, as they are found: a line each, and the sums at the end.
import { sizeOfEntry, type TreeRoot, typeLetter } from '../agent/tree/browse/describe-entry.ts';
import { type ChangeKind, diffTrees, type TreeChange } from '../agent/tree/browse/diff-trees.ts';
import type { GetObject } from '../agent/tree/read-tree.ts';
import { formatBytes } from '../util/format-bytes.ts';
import { jsonPath, shownPath } from '../util/shown-path.ts';
import { type OutputFormat, printable } from './output.ts';
import { StreamOutput } from './stream-output.ts';

/** Width of `metadata`, the longest kind. */
const KIND_WIDTH = 8;

interface Sum {
  count: number;
  /** Of regular files: those after, for what was removed those before. */
  bytes: number;
}

/** @throws what `diffTrees` throws; what was found before is written then. */
export async function writeTreeDiff(
  head: Readonly<Record<string, unknown>>,
  get: GetObject,
  before: TreeRoot,
  after: TreeRoot,
  format: OutputFormat,
  signal: AbortSignal,
): Promise<void> {
  const isText = format === 'text';
  const output = new StreamOutput(signal);
  const sums: Record<ChangeKind, Sum> = {
    added: { count: 0, bytes: 0 },
    removed: { count: 0, bytes: 0 },
    changed: { count: 0, bytes: 0 },
    metadata: { count: 0, bytes: 0 },
  };
  let count = 0;
  output.add(
    isText
      ? `${printable(`${head.before} -> ${head.after}, ${head.archive}`)}\n${'kind'.padEnd(KIND_WIDTH)}  ${'before'.padStart(14)}  ${'after'.padStart(14)}  path\n`
      : `${JSON.stringify(head).slice(0, -1)},"changes":[`,
  );
  await diffTrees(get, before, after, async (changes) => {
    for (const change of changes) {
      output.add(isText ? textLine(change) : `${count === 0 ? '' : ','}\n${JSON.stringify(jsonLine(change))}`);
      count++;
      const sum = sums[change.kind];
      sum.count++;
      sum.bytes += sizeOfEntry(oneOf(change));
    }
    await output.pass();
  });
  const totals = Object.entries(sums).map(([kind, sum]) => `${sum.count} ${kind} (${formatBytes(sum.bytes)})`);
  output.add(isText ? `${totals.join(', ')}\n` : `\n],"count":${count},"sums":${JSON.stringify(sums)}}\n`);
  await output.flush();
}

function textLine({ kind, path, before, after, fields }: TreeChange): string {
  const sizes = [before, after].map((entry) => (entry === undefined ? '-' : String(sizeOfEntry(entry))).padStart(14));
  const why = fields.length === 0 ? '' : `  [${fields.join(', ')}]`;
  return `${kind.padEnd(KIND_WIDTH)}  ${sizes.join('  ')}  ${path === '' ? '.' : shownPath(path)}${why}\n`;
}

function jsonLine(change: TreeChange): Record<string, unknown> {
  const { kind, path, before, after, fields } = change;
  return {
    kind,
    ...jsonPath('path', path),
    type: typeLetter(oneOf(change)),
    sizeBefore: before === undefined ? null : sizeOfEntry(before),
    sizeAfter: after === undefined ? null : sizeOfEntry(after),
    fields,
  };
}

/** What is there after, or was before. */
function oneOf({ before, after }: TreeChange): NonNullable<TreeChange['after']> {
  return (after ?? before) as NonNullable<TreeChange['after']>;
}
