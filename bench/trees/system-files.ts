// A copy of /usr: first run and restore, against borg and restic on the same tree in the same minutes. All compress; borg has no
// encryption, as we here, and zstd,3; restic cannot do without. Caches of the peers are new with each repository.
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { type Contender, divide, extra, race, ratio, wall } from '../contender.ts';
import { backupTree, holdfastMissing, readBackup, restoreTree } from '../holdfast.ts';
import { borg, type Peer, restic } from '../peers.ts';
import { type Answer, atLeast, atMost, type Context } from '../question.ts';
import { createPeer, emptyStore, ourSize, peerFullBackup, runPlain } from '../stores.ts';
import type { Workspace } from '../workspace.ts';
import { requireSameTree } from './open-trees.ts';

const HOME = 'ours';
const TARGET = 'restored';

export async function systemFiles({ trees, workspace, runs }: Context): Promise<Answer> {
  const tree = trees.system();
  const peers = [borg('zstd,3'), restic()];
  const first: Contender = {
    name: 'holdfast, /usr, first run',
    missing: holdfastMissing(),
    before: () => {
      emptyStore(workspace, HOME);
    },
    reads: () => [tree.path],
    commands: () => [backupTree(workspace.path(HOME, 'repository'), tree.path)],
    after: ([stdout]) => ({ ...readBackup(stdout).figures, storedBytes: ourSize(workspace, HOME) }),
  };
  const [ourFirst, borgFirst, resticFirst] = await race(
    [first, ...peers.map((peer) => peerFullBackup(workspace, peer, tree.path))],
    runs,
  );
  const [ourBack, borgBack, resticBack] = await race(
    [ourRestore(workspace, tree.path), ...peers.map((peer) => peerTreeRestore(workspace, peer, tree.path))],
    runs,
  );
  return {
    rows: [ourFirst, borgFirst, resticFirst, ourBack, borgBack, resticBack],
    bars: [
      atLeast('/usr, first run: wall of borg / ours', ratio(borgFirst, ourFirst, wall), 1.5),
      atLeast('/usr, first run: wall of restic / ours', ratio(resticFirst, ourFirst, wall), 1.5),
      atMost('/usr: stored, ours / borg', divide(extra(ourFirst, 'storedBytes'), extra(borgFirst, 'storedBytes')), 1.1),
      atLeast('/usr, restore: wall of borg / ours', ratio(borgBack, ourBack, wall), 1.5),
      atLeast('/usr, restore: wall of restic / ours', ratio(resticBack, ourBack, wall), 1.5),
    ],
    facts: { systemFiles: tree.files, systemBytes: tree.bytes },
  };
}

function ourRestore(workspace: Workspace, tree: string): Contender {
  const repository = workspace.path(HOME, 'repository');
  return {
    name: 'holdfast, /usr, restore',
    missing: holdfastMissing(),
    before: () => {
      if (!existsSync(repository)) runPlain(backupTree(emptyStore(workspace, HOME), tree));
      workspace.fresh(TARGET);
    },
    reads: () => [repository],
    commands: () => [restoreTree(repository, workspace.path(TARGET))],
    after: () => proved(workspace, tree, workspace.path(TARGET)),
  };
}

function peerTreeRestore(workspace: Workspace, peer: Peer, tree: string): Contender {
  const home = peer.name.replaceAll(/\W+/g, '-');
  return {
    name: `${peer.name}, restore`,
    missing: peer.missing,
    before: () => {
      if (!existsSync(workspace.path(home))) runPlain(peer.backup(createPeer(workspace, peer), tree));
      workspace.fresh(TARGET);
    },
    reads: () => [workspace.path(home)],
    commands: () => [peer.restore(workspace.path(home), tree, workspace.path(TARGET))],
    after: () => proved(workspace, tree, workspace.path(TARGET, basename(tree))),
  };
}

function proved(workspace: Workspace, tree: string, restored: string): Record<string, number> {
  requireSameTree(tree, restored);
  workspace.remove(TARGET);
  return {};
}
