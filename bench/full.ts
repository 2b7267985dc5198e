// How fast is a full backup of an image nobody has seen, at level 1 and level 3, and what does it store?
import { type Contender, cpu, divide, extra, type Row, race, ratio, wall } from './contender.ts';
import { backupFloor } from './floor.ts';
import { borg, restic } from './peers.ts';
import { type Answer, atLeast, atMost, type Bar, type Context, type Question } from './question.ts';
import { ourFullBackup, peerFullBackup } from './stores.ts';

export const full: Question = {
  name: 'full',
  title: '4 GiB ext4 image of real files, full backup, 2 workers',
  answer,
};

async function answer({ images, workspace, runs }: Context): Promise<Answer> {
  const image = images.base();
  const data = images.baseData();
  const target = workspace.path('floor.zst');
  const ours = (level: number): Contender =>
    ourFullBackup(workspace, `holdfast level ${level}, 2 workers`, image.path, { workers: 2, level });
  const [level1, floor, ...otherFloors] = await race(
    [
      ours(1),
      backupFloor('C floor: zstd -1 + b3sum', data.path, '/dev/null', 1),
      backupFloor('C floor, to a file', data.path, target, 1),
      backupFloor('C floor, to a file, 2 threads', data.path, target, 2),
    ],
    runs,
  );
  const [level3, borg3] = await race([ours(3), peerFullBackup(workspace, borg('zstd,3'), image.path)], runs);
  const [borg1, resticRow] = await race(
    [peerFullBackup(workspace, borg('zstd,1'), image.path), peerFullBackup(workspace, restic(), image.path)],
    runs,
  );
  const peers = [borg1, borg3, resticRow];
  const storedShare = divide(extra(level3, 'storedBytes'), extra(borg3, 'storedBytes'));
  return {
    rows: [level1, floor, ...otherFloors, level3, ...peers],
    bars: [
      atLeast('level 1: CPU of the C floor / ours', ratio(floor, level1, cpu), 0.95),
      ...fasterThan(peers, level1, 'level 1', 3),
      atMost('level 3: stored bytes, ours / borg zstd,3', storedShare, 1.08),
      ...fasterThan(peers, level3, 'level 3', 2),
    ],
    facts: { imageBytes: image.sizeBytes, dataBytes: image.dataBytes, files: image.files, digest: image.digest },
  };
}

function fasterThan(peers: readonly Row[], ours: Row, what: string, limit: number): Bar[] {
  return peers.map((peer) => atLeast(`${what}: wall of ${peer.name} / ours`, ratio(peer, ours, wall), limit));
}
