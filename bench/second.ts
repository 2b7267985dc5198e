// How much does a day's change cost: the second version of the image, 2.5 % of its blocks changed, without a change map?
import { type Contender, divide, extra, race } from './contender.ts';
import { backup, holdfastMissing, readBackup } from './holdfast.ts';
import { borg, casync, restic } from './peers.ts';
import { type Answer, atMost, type Context, type Question } from './question.ts';
import { ourSize, peerSecondBackup, startFrom, storeWith } from './stores.ts';
import type { Workspace } from './workspace.ts';

const HOME = 'second';

export const second: Question = {
  name: 'second',
  title: 'Second version of the image, 2 to 3 % of the blocks changed',
  answer,
};

async function answer({ images, workspace, runs }: Context): Promise<Answer> {
  const base = images.base();
  const image = images.second();
  const [ours] = await race([ourSecond(workspace, base.path, image.path)], runs);
  const peers = [casync(), restic(), borg('zstd,3')].map((peer) =>
    peerSecondBackup(workspace, peer, base.path, image.path),
  );
  const [casyncRow, resticRow, borgRow] = await race(peers, runs);
  const stored = extra(ours, 'storedBytes');
  return {
    rows: [ours, casyncRow, resticRow, borgRow],
    bars: [
      atMost('stored bytes, ours / casync 64 KiB', divide(stored, extra(casyncRow, 'storedBytes')), 1.3),
      atMost('stored bytes, ours / restic', divide(stored, extra(resticRow, 'storedBytes')), 0.5),
    ],
    facts: { imageBytes: image.sizeBytes, changedBytes: image.changedBytes, changedShare: image.changedShare },
  };
}

function ourSecond(workspace: Workspace, base: string, image: string): Contender {
  let sizeBefore = 0;
  return {
    name: 'holdfast, 2 workers',
    missing: holdfastMissing(),
    before: () => {
      startFrom(workspace, HOME, () => storeWith(workspace, HOME, base));
      sizeBefore = ourSize(workspace, HOME);
    },
    reads: () => [image],
    commands: () => [backup(workspace.path(HOME, 'repository'), image)],
    after: ([stdout]) => ({ ...readBackup(stdout).figures, storedBytes: ourSize(workspace, HOME) - sizeBefore }),
  };
}
