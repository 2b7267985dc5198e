// What an owner of backups may not take back while their group is held: whoever has the token of a host must not undo what the watch did.
import { formatTime } from '../../schema/names.ts';
import type { GroupState } from '../../schema/state-files.ts';
import { HoldfastError } from '../../util/errors.ts';
import { type SnapshotName, snapshotLabel } from '../snapshots/group-store.ts';
import { clearCommand } from './describe-anomaly.ts';
import { isHeld } from './watch-commit.ts';

/**
 * Ends the wish to take a protection away from a snapshot that is older than the anomaly of its group, whoever had made it: the watch takes for
 * kept what is protected already. @throws `protected`.
 */
export function refuseHeld(name: SnapshotName, state: GroupState | undefined): void {
  // After a repair nobody knows which of them the watch had protected.
  if (!isHeld(state) || (state.anomaly.cause !== 'repair' && name.time >= state.anomaly.time)) return;
  const { ns, group } = name;
  throw new HoldfastError(
    'protected',
    `${snapshotLabel(name)} stays protected while ${group} is held because of its snapshot of ${formatTime(state.anomaly.time)}: ` +
      `whoever has Datastore.Modify looks at it first, and then: ${clearCommand(ns, group)}`,
  );
}
