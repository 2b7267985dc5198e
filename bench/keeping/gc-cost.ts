// What does a collection cost that has nothing to free? It must not grow with snapshots, and grow no faster than objects.
import { type Contender, race, ratio, wall } from '../contender.ts';
import { collect, holdfastMissing, readCollection } from '../holdfast.ts';
import { type Answer, atMost, type Context } from '../question.ts';
import { emptyStore } from '../stores.ts';
import type { Workspace } from '../workspace.ts';
import { growTrees, repeatSnapshots } from './trees.ts';

const ROOTS = 10;
const SNAPSHOTS = 1000;
const OBJECTS = 1_000_000;

export async function gcCost({ workspace, runs, scale }: Context): Promise<Answer> {
  const objects = Math.round(OBJECTS * scale);
  const [few, many, tenth] = await race(
    [
      nothingToFree(workspace, 'ten snapshots', ROOTS, objects),
      nothingToFree(workspace, 'a thousand snapshots of the same', SNAPSHOTS, objects),
      nothingToFree(workspace, 'ten snapshots, a tenth of the objects', ROOTS, objects / 10),
    ],
    runs,
  );
  const perObject = ratio(few, tenth, wall);
  return {
    rows: [few, many, tenth],
    bars: [
      atMost('gc, nothing to free: 1,000 snapshots / 10 snapshots of 10 roots', ratio(many, few, wall), 1.2),
      atMost('gc: time per object with ten times the objects', perObject === null ? null : perObject / 10, 1.2),
    ],
    facts: { gcObjects: objects },
  };
}

function nothingToFree(workspace: Workspace, name: string, snapshots: number, objects: number): Contender {
  const home = `gc-${snapshots}-${objects}`;
  const repository = workspace.path(home, 'repository');
  let made = false;
  return {
    name: `gc, ${name}`,
    missing: holdfastMissing(),
    before: async () => {
      if (made) return;
      emptyStore(workspace, home);
      await growTrees(repository, ROOTS, Math.round(objects / ROOTS));
      await repeatSnapshots(repository, ROOTS, snapshots);
      made = true;
    },
    commands: () => [collect(repository)],
    after: ([stdout]) => {
      const figures = readCollection(stdout);
      if (figures.objectsLive < objects || figures.packsDropped > 0)
        throw new Error(`not the collection that was meant: ${stdout}`);
      return figures;
    },
  };
}
