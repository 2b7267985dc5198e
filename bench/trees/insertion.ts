// A large file with one byte more at its front: what is stored for it.
import { cpSync } from 'node:fs';
import { type Contender, extra, race } from '../contender.ts';
import { backupTree, holdfastMissing, readBackup } from '../holdfast.ts';
import { type Answer, atMost, type Context } from '../question.ts';
import { emptyStore, runPlain, startFrom } from '../stores.ts';

const HOME = 'insertion';

export async function insertionCost({ trees, workspace }: Context): Promise<Answer> {
  const large = trees.largeFile();
  const shifted = trees.shiftedFile();
  const tree = workspace.path('insertion-tree');
  const contender: Contender = {
    name: 'one byte at the front of a large file',
    missing: holdfastMissing(),
    before: () => {
      startFrom(workspace, HOME, () => {
        const repository = emptyStore(workspace, HOME);
        cpSync(large.path, workspace.fresh('insertion-tree'), { recursive: true });
        runPlain(backupTree(repository, tree));
      });
      cpSync(shifted.path, workspace.fresh('insertion-tree'), { recursive: true });
    },
    commands: () => [backupTree(workspace.path(HOME, 'repository'), tree)],
    after: ([stdout]) => readBackup(stdout).figures,
  };
  // What is new depends on the bytes alone, so that one run says it.
  const [row] = await race([contender], 1);
  workspace.remove('insertion-tree');
  return {
    rows: [row],
    bars: [atMost('one byte in front of a large file: new bytes', extra(row, 'bytesNew'), 2 ** 20, 'bytes')],
    facts: { largeFileBytes: large.bytes },
  };
}
