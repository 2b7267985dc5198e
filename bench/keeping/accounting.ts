// How long does it take to say where the space of a thousand snapshots went?
import { type Contender, race, wall } from '../contender.ts';
import { account, holdfastMissing, status } from '../holdfast.ts';
import type { Command } from '../measure.ts';
import { type Answer, atMost, type Context } from '../question.ts';
import { emptyStore } from '../stores.ts';
import { growTrees, repeatSnapshots } from './trees.ts';

const ROOTS = 10;
const SNAPSHOTS = 1000;
const OBJECTS = 200_000;
const HOME = 'accounting';

export async function accountingCost({ workspace, runs, scale }: Context): Promise<Answer> {
  const repository = workspace.path(HOME, 'repository');
  if (holdfastMissing() === undefined) {
    emptyStore(workspace, HOME);
    await growTrees(repository, ROOTS, Math.round((OBJECTS * scale) / ROOTS));
    await repeatSnapshots(repository, ROOTS, SNAPSHOTS);
  }
  const [counted] = await race([contender('account: count of 1,000 snapshots', account(repository))], 1);
  const [told] = await race([contender('status of 1,000 snapshots', status(repository))], runs);
  return {
    rows: [counted, told],
    bars: [
      atMost('space accounting after 1,000 snapshots', told.median === undefined ? null : wall(told.median), 1, ' s'),
    ],
    facts: {},
  };
}

function contender(name: string, command: Command): Contender {
  return { name, missing: holdfastMissing(), commands: () => [command] };
}
