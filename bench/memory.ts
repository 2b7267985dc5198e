// Does memory stay bounded whatever the size of the disk? Peak of the whole process tree, backup and restore, 4 GiB and 1 TiB sparse.
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { type Contender, type Row, race } from './contender.ts';
import { backup, holdfastMissing, readBackup, restore } from './holdfast.ts';
import type { HugeImage } from './images.ts';
import { type Answer, atMost, type Bar, type Context, type Question } from './question.ts';
import { sizeName } from './size-name.ts';
import { emptyStore } from './stores.ts';
import { requireSame, type Workspace } from './workspace.ts';

const LIMIT_MIB = 400;
// The index may come on top: its own bar is 60 bytes an object.
const INDEX_BYTES_PER_OBJECT = 60;

export const memory: Question = {
  name: 'memory',
  title: 'Peak memory of backup and restore, 4 GiB image and 1 TiB sparse image',
  answer,
};

async function answer({ images, workspace }: Context): Promise<Answer> {
  const [base, huge] = [images.base(), images.huge()];
  const rows: Row[] = [];
  const bars: Bar[] = [];
  const disks: [string, string, (target: string) => void][] = [
    [sizeName(base.sizeBytes), base.path, (target) => requireSame(base.path, target)],
    [`${sizeName(huge.sizeBytes)}, sparse`, huge.path, (target) => requireRuns(huge, target)],
  ];
  for (const [size, path, prove] of disks) {
    // In this order: the restore reads what the backup stored.
    const [backedUp] = await race([backupOf(workspace, size, path)], 1);
    const [restored] = await race([restoreOf(workspace, size, prove)], 1);
    const indexMiB = ((backedUp.extra.objectsNew ?? 0) * INDEX_BYTES_PER_OBJECT) / 2 ** 20;
    for (const row of [backedUp, restored]) {
      bars.push(
        atMost(
          `${row.name}: peak memory less ${indexMiB.toFixed(1)} MiB of index`,
          peakLess(row, indexMiB),
          LIMIT_MIB,
          ' MiB',
        ),
      );
    }
    rows.push(backedUp, restored);
  }
  return {
    rows,
    bars,
    facts: { imageBytes: base.sizeBytes, hugeBytes: huge.sizeBytes, hugeDataBytes: huge.dataBytes },
  };
}

function peakLess(row: Row, indexMiB: number): number | null {
  if (row.status !== 'ok' || row.median === undefined) return null;
  return Math.max(row.median.peakRssMiB, row.median.peakPssMiB ?? 0) - indexMiB;
}

function backupOf(workspace: Workspace, size: string, image: string): Contender {
  return {
    name: `holdfast backup of ${size}`,
    missing: holdfastMissing(),
    samplePss: true,
    before: () => {
      emptyStore(workspace, 'memory');
    },
    commands: () => [backup(workspace.path('memory', 'repository'), image)],
    after: ([stdout]) => readBackup(stdout).figures,
  };
}

function restoreOf(workspace: Workspace, size: string, prove: (target: string) => void): Contender {
  const target = workspace.path('memory.img');
  return {
    name: `holdfast restore of ${size}`,
    missing: holdfastMissing(),
    samplePss: true,
    commands: () => [restore(workspace.path('memory', 'repository'), target)],
    after: () => {
      prove(target);
      workspace.remove('memory.img');
      return {};
    },
  };
}

/** A terabyte of holes would take cmp minutes: the runs must be the same, and nothing else may take room on the disk. */
function requireRuns(image: HugeImage, target: string): void {
  const { size, blocks } = statSync(target);
  if (size !== image.sizeBytes) throw new Error(`restored ${size} bytes instead of ${image.sizeBytes}`);
  if (blocks * 512 > 2 * statSync(image.path).blocks * 512)
    throw new Error(`the restore filled holes: ${blocks * 512} bytes on disk`);
  const [expected, actual] = [openSync(image.path, 'r'), openSync(target, 'r')];
  try {
    for (const { offset, length } of image.runs) {
      const [left, right] = [Buffer.alloc(length), Buffer.alloc(length)];
      readSync(expected, left, 0, length, offset);
      readSync(actual, right, 0, length, offset);
      if (!left.equals(right)) throw new Error(`the restore differs within ${length} bytes at ${offset}`);
    }
  } finally {
    closeSync(expected);
    closeSync(actual);
  }
}
