// What does it cost to read a store and prove every object, against what zstd and b3sum need for the same bytes?
import { existsSync } from 'node:fs';
import { type Contender, cpu, extra, race, ratio } from '../contender.ts';
import { compressForRestore, restoreFloor } from '../floor.ts';
import { holdfastMissing, readVerification, verify } from '../holdfast.ts';
import { type Answer, atLeast, atMost, type Context } from '../question.ts';
import { runPlain, storeWith } from '../stores.ts';
import { missingTools } from '../tools.ts';
import type { Workspace } from '../workspace.ts';

const HOME = 'verify';

export async function verifyCost({ images, workspace, runs }: Context): Promise<Answer> {
  const image = images.base();
  const data = images.baseData();
  const compressed = workspace.path('floor.zst');
  if (missingTools('zstd') === undefined) runPlain(compressForRestore(data.path, compressed));
  const [ours, floor] = await race(
    [
      verification(workspace, 'verify, 2 workers', image.path, []),
      restoreFloor('C floor: zstd -d + b3sum', compressed, '/dev/null', data.path),
    ],
    runs,
  );
  const [again] = await race(
    [verification(workspace, 'verify again, nothing outdated', image.path, ['--outdated-after', '30d'])],
    1,
  );
  return {
    rows: [ours, floor, again],
    bars: [
      atLeast('verify: CPU of zstd -d + b3sum / ours', ratio(floor, ours, cpu), 0.8),
      atMost('verify again within the limit: bytes of packs read', extra(again, 'bytesRead'), 0, ' B'),
    ],
    facts: { verifiedDataBytes: image.dataBytes },
  };
}

function verification(workspace: Workspace, name: string, image: string, options: readonly string[]): Contender {
  return {
    name,
    missing: holdfastMissing(),
    before: () => {
      if (!existsSync(workspace.path(HOME))) storeWith(workspace, HOME, image);
    },
    reads: () => [workspace.path(HOME)],
    commands: () => [verify(workspace.path(HOME, 'repository'), options)],
    after: ([stdout]) => readVerification(stdout),
  };
}
