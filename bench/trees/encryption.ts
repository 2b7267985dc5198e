// First runs with and without a key, in turn: what encryption costs in CPU.
import { type Contender, cpu, race, ratio } from '../contender.ts';
import { backupTree, createKey, holdfastMissing, readBackup } from '../holdfast.ts';
import { type Answer, atMost, type Context } from '../question.ts';
import { emptyStore, runPlain } from '../stores.ts';
import type { Workspace } from '../workspace.ts';
import { warmTree } from './open-trees.ts';

export async function encryptionCost({ trees, workspace, runs }: Context): Promise<Answer> {
  const large = trees.largeFile();
  const system = trees.system();
  warmTree(large.path);
  const largeRows = await race(pair(workspace, 'large file', large.path), runs);
  warmTree(system.path);
  const smallRows = await race(pair(workspace, '/usr', system.path), runs);
  return {
    rows: [...largeRows, ...smallRows],
    bars: [
      atMost('large file: CPU under a key / plain', ratio(largeRows[1], largeRows[0], cpu), 1.2),
      atMost('small files: CPU under a key / plain', ratio(smallRows[1], smallRows[0], cpu), 1.3),
    ],
    facts: {},
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
    commands: () => [backupTree(repository, tree, isEncrypted ? keyfile : undefined)],
    after: ([stdout]) => readBackup(stdout).figures,
  });
  return [contender(false), contender(true)];
}
