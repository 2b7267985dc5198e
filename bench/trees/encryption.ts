// First runs with and without a key, in turn: what encryption costs in CPU. The bars are about data as disks hold it; what does not compress at all
// is the worst case, for the cipher then has all of it to do (some 0.47 s a GiB in Node 20), and is shown beside them.
import { type Contender, cpu, race, ratio } from '../contender.ts';
import { backupTree, createKey, holdfastMissing, readBackup } from '../holdfast.ts';
import { type Answer, atMost, type Context } from '../question.ts';
import { emptyStore, runPlain } from '../stores.ts';
import type { Workspace } from '../workspace.ts';

export async function encryptionCost({ trees, workspace, runs }: Context): Promise<Answer> {
  const real = trees.realFile();
  const noise = trees.largeFile();
  const system = trees.system();
  const realRows = await race(pair(workspace, '1 GiB of files', real.path), runs);
  const noiseRows = await race(pair(workspace, '1 GiB that does not compress', noise.path), runs);
  const smallRows = await race(pair(workspace, '/usr', system.path), runs);
  return {
    rows: [...realRows, ...noiseRows, ...smallRows],
    bars: [
      atMost('1 GiB of files: CPU under a key / plain', ratio(realRows[1], realRows[0], cpu), 1.2),
      atMost('small files: CPU under a key / plain', ratio(smallRows[1], smallRows[0], cpu), 1.3),
    ],
    facts: { cpuRatioOfNoise: ratio(noiseRows[1], noiseRows[0], cpu)?.toFixed(2) ?? 'not measured' },
  };
}

function pair(workspace: Workspace, what: string, tree: string): Contender[] {
  const home = 'encryption';
  const repository = workspace.path(home, 'repository');
  const keyfile = workspace.path(home, 'key.json');
  const contender = (isEncrypted: boolean): Contender => ({
    name: `${what}, ${isEncrypted ? 'under a key' : 'plain'}`,
    missing: holdfastMissing(),
    before: () => {
      emptyStore(workspace, home);
      if (isEncrypted) runPlain(createKey(repository, keyfile));
    },
    reads: () => [tree],
    commands: () => [backupTree(repository, tree, isEncrypted ? keyfile : undefined)],
    after: ([stdout]) => readBackup(stdout).figures,
  });
  return [contender(false), contender(true)];
}
