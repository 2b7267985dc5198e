// What does it cost to take in a vzdump archive? At most half more than to decompress it and to back up the raw disk.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { writeVma } from '../test/support/vma-writer.ts';
import { type Contender, cpu, type Row, race, wall } from './contender.ts';
import { holdfastMissing, importArchive, readBackup } from './holdfast.ts';
import type { Image } from './images.ts';
import { median } from './median.ts';
import { type Answer, atMost, type Context, type Question } from './question.ts';
import { emptyStore, ourFullBackup } from './stores.ts';
import type { Workspace } from './workspace.ts';

const NAME = 'vzdump-qemu-101-2026_01_31-02_00_00.vma.zst';
const CLUSTER_BYTES = 65_536;

export const vma: Question = {
  name: 'vma',
  title: 'A vzdump archive (zstd) of the 4 GiB image taken in, 2 workers',
  answer,
};

async function answer({ images, workspace, runs }: Context): Promise<Answer> {
  const image = images.base();
  const archive = workspace.path(NAME);
  await writeArchive(image, archive);
  const [taken, unpacked, backedUp] = await race(
    [
      importing(workspace, archive),
      { name: 'zstd -d', reads: () => [archive], commands: () => [{ argv: ['zstd', '-dqfo', '/dev/null', archive] }] },
      ourFullBackup(workspace, 'our backup of the raw image', image.path, { workers: 2, level: 1 }),
    ],
    runs,
  );
  return {
    rows: [taken, unpacked, backedUp],
    bars: [atMost('CPU of the import / that of both', toSum(taken, [unpacked, backedUp], cpu), 1.5)],
    facts: {
      imageBytes: image.sizeBytes,
      dataBytes: image.dataBytes,
      wallShare: toSum(taken, [unpacked, backedUp], wall) ?? 0,
    },
  };
}

function importing(workspace: Workspace, archive: string): Contender {
  const home = 'imported';
  return {
    name: 'holdfast import',
    missing: holdfastMissing(),
    before: () => void emptyStore(workspace, home),
    reads: () => [archive],
    commands: () => [importArchive(workspace.path(home, 'repository'), archive)],
    after: ([stdout]) => readBackup(stdout).figures,
  };
}

/** Within each round, and then the median. */
function toSum(row: Row, parts: readonly Row[], pick: typeof cpu): number | null {
  if ([row, ...parts].some(({ status }) => status !== 'ok')) return null;
  return median(
    row.runs.map((usage, round) => pick(usage) / parts.reduce((sum, part) => sum + pick(part.runs[round]), 0)),
  );
}

/** As vzdump does: clusters ascend, zstd with its default level. */
async function writeArchive(image: Image, path: string): Promise<void> {
  const file = openSync(image.path, 'r');
  try {
    let held = { at: -1, bytes: Buffer.alloc(0) };
    const read = (offset: number, length: number): Buffer => {
      const at = Math.floor(offset / CLUSTER_BYTES) * CLUSTER_BYTES;
      if (held.at !== at) {
        const bytes = Buffer.alloc(CLUSTER_BYTES);
        held = { at, bytes: bytes.subarray(0, readSync(file, bytes, 0, bytes.length, at)) };
      }
      return held.bytes.subarray(offset - at, offset - at + length);
    };
    const disk = { id: 1, name: 'drive-scsi0', sizeBytes: image.sizeBytes, read };
    const zstd = spawn('zstd', ['-qfo', path], { stdio: ['pipe', 'inherit', 'inherit'] });
    const ended = once(zstd, 'exit');
    await pipeline(Readable.from(writeVma({ disks: [disk] }), { objectMode: false }), zstd.stdin);
    const [code] = await ended;
    if (code !== 0) throw new Error(`zstd ended with ${code}`);
  } finally {
    closeSync(file);
  }
}
