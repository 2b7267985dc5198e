// What does an incremental backup with a change map cost, and does it depend on the size of the disk rather than of the change?
// The wide image holds the same data and the same extents in its first 4 GiB; the rest of its 64 GiB is a hole.
import { writeFileSync } from 'node:fs';
import { type Contender, divide, extra, race, ratio, wall } from './contender.ts';
import { backup, changeMap, holdfastMissing, readBackup, restore } from './holdfast.ts';
import type { Image, MappedImage } from './images.ts';
import { type Answer, atMost, type Context, type Question } from './question.ts';
import { sizeName } from './size-name.ts';
import { runPlain, startFrom, storeWith } from './stores.ts';
import { requireSame, type Workspace, warmFirst } from './workspace.ts';

export const changemap: Question = {
  name: 'changemap',
  title: 'Backup with a change map of 64 KiB extents, 1 % scattered',
  answer,
};

async function answer({ images, workspace, runs }: Context): Promise<Answer> {
  const [base, mapped, wide, wideMapped] = [images.base(), images.mapped(), images.wide(), images.wideMapped()];
  const rows = await race(
    [
      mappedBackup(workspace, 'plain', base, mapped, base.sizeBytes),
      mappedBackup(workspace, 'wide', wide, wideMapped, base.sizeBytes),
    ],
    runs,
  );
  const [plain, inWide] = rows;
  return {
    rows,
    bars: [
      atMost('wall of the 64 GiB image / of the 4 GiB image', ratio(inWide, plain, wall), 1.3),
      atMost('4 GiB: bytes read / bytes in the map', divide(extra(plain, 'bytesRead'), mapped.mapBytes), 4),
      atMost('64 GiB: bytes read / bytes in the map', divide(extra(inWide, 'bytesRead'), wideMapped.mapBytes), 4),
    ],
    facts: {
      imageBytes: mapped.sizeBytes,
      wideBytes: wideMapped.sizeBytes,
      extents: mapped.extents.length,
      mapBytes: mapped.mapBytes,
    },
  };
}

/** Every run starts from a store with the base image alone; the result is restored and its first `provedBytes` compared. */
function mappedBackup(
  workspace: Workspace,
  home: string,
  base: Image,
  mapped: MappedImage,
  provedBytes: number,
): Contender {
  const [repository, map, target] = [
    workspace.path(home, 'repository'),
    workspace.path(home, 'map.json'),
    workspace.path(`${home}.img`),
  ];
  return {
    name: `holdfast, ${sizeName(mapped.sizeBytes)} image`,
    missing: holdfastMissing(),
    before: () => {
      startFrom(workspace, home, () => {
        const { snapshot } = storeWith(workspace, home, base.path);
        writeFileSync(map, changeMap(snapshot, mapped.extents));
      });
      // Reading the holes of the wide image would push everything else out of the page cache.
      warmFirst(mapped.path, provedBytes);
    },
    commands: () => [backup(repository, mapped.path, { changedSince: map })],
    after: ([stdout]) => {
      const { figures } = readBackup(stdout);
      runPlain(restore(repository, target));
      requireSame(mapped.path, target, provedBytes);
      workspace.remove(`${home}.img`);
      return figures;
    },
  };
}
