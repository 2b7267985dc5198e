// How fast is a restore that verifies every chunk, to a file? Every restored file is compared with cmp.
import { existsSync } from 'node:fs';
import { type Contender, cpu, race, ratio, wall } from './contender.ts';
import { compressForRestore, restoreFloor } from './floor.ts';
import { holdfastMissing, restore as restoreCommand } from './holdfast.ts';
import { borg, casync, restic } from './peers.ts';
import { type Answer, atLeast, type Context, type Question } from './question.ts';
import { peerRestore, runPlain, storeWith } from './stores.ts';
import { missingTools } from './tools.ts';
import { requireSame, type Workspace } from './workspace.ts';

const HOME = 'restore';

export const restore: Question = {
  name: 'restore',
  title: 'Verified restore of the 4 GiB image, 2 workers',
  answer,
};

async function answer({ images, workspace, runs }: Context): Promise<Answer> {
  const image = images.base();
  const data = images.baseData();
  const compressed = workspace.path('floor.zst');
  const restored = workspace.path('floor.data');
  if (missingTools('zstd') === undefined) runPlain(compressForRestore(data.path, compressed));
  const [ours, floor, toFile] = await race(
    [
      ourRestore(workspace, image.path),
      restoreFloor('C floor: zstd -d + b3sum', compressed, '/dev/null', data.path),
      restoreFloor('C floor, to a file', compressed, restored, restored),
    ],
    runs,
  );
  const peers = await race(
    [borg('zstd,1'), restic(), casync()].map((peer) => peerRestore(workspace, peer, image.path)),
    runs,
  );
  const [borgRow, resticRow] = peers;
  return {
    rows: [ours, floor, toFile, ...peers],
    bars: [
      atLeast('CPU of the C floor / ours', ratio(floor, ours, cpu), 0.85),
      atLeast(`wall of ${borgRow.name} / ours`, ratio(borgRow, ours, wall), 2.5),
      atLeast('wall of restic / ours', ratio(resticRow, ours, wall), 2.5),
    ],
    facts: { imageBytes: image.sizeBytes, dataBytes: image.dataBytes },
  };
}

function ourRestore(workspace: Workspace, image: string): Contender {
  const target = workspace.path('restored.img');
  return {
    name: 'holdfast, 2 workers',
    missing: holdfastMissing(),
    before: () => {
      if (!existsSync(workspace.path(HOME))) storeWith(workspace, HOME, image);
    },
    reads: () => [workspace.path(HOME)],
    commands: () => [restoreCommand(workspace.path(HOME, 'repository'), target)],
    after: () => {
      requireSame(image, target);
      workspace.remove('restored.img');
      return {};
    },
  };
}
