// How fast is a backup in which every byte is known already, and do two workers help?
import { existsSync } from 'node:fs';
import { type Contender, cpu, divide, extra, race, ratio, wall } from './contender.ts';
import { hashFloor } from './floor.ts';
import { backup, holdfastMissing, readBackup } from './holdfast.ts';
import { type Answer, atLeast, type Context, type Question } from './question.ts';
import { storeWith } from './stores.ts';

const HOME = 'known';

export const known: Question = {
  name: 'known',
  title: 'The same image again, all known',
  answer,
};

async function answer({ images, workspace, runs }: Context): Promise<Answer> {
  const image = images.base();
  const data = images.baseData();
  const again = (workers: number): Contender => ({
    name: `holdfast, ${workers} worker${workers > 1 ? 's' : ''}`,
    missing: holdfastMissing(),
    before: () => {
      if (!existsSync(workspace.path(HOME))) storeWith(workspace, HOME, image.path);
    },
    reads: () => [image.path],
    commands: () => [backup(workspace.path(HOME, 'repository'), image.path, { workers })],
    after: ([stdout]) => {
      const { figures } = readBackup(stdout);
      // A few kilobytes of directory and manifest may be new.
      if (figures.bytesNew > image.sizeBytes / 1000)
        throw new Error(`the same image again brought ${figures.bytesNew} new bytes`);
      return figures;
    },
  });
  const rows = await race(
    [again(1), hashFloor('b3sum, 1 thread', data.path, 1), again(2), hashFloor('b3sum, 2 threads', data.path, 2)],
    runs,
  );
  const [one, hashOne, two, hashTwo] = rows;
  return {
    rows,
    bars: [
      atLeast('1 worker: CPU of b3sum / ours', ratio(hashOne, one, cpu), 0.7),
      atLeast('2 workers: CPU of b3sum / ours', ratio(hashTwo, two, cpu), 0.7),
      atLeast('wall of 1 worker / wall of 2 workers, whole process', ratio(one, two, wall), 1.7),
    ],
    facts: {
      imageBytes: image.sizeBytes,
      dataBytes: image.dataBytes,
      speedupByDurationMs: divide(extra(one, 'durationMs'), extra(two, 'durationMs')) ?? 'not measured',
    },
  };
}
