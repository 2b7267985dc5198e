// Which copies of a reachable object must stay: one that survives everything, else all there are.
import type { EntrySet } from '../index/entry-set.ts';
import type { IndexLocator } from '../object-source.ts';
import type { Visit } from './walk.ts';

/** Marks as live the first copy that is durable, good and not about to go; without one every copy, bad ones too (rule G4). */
export function choosingCopies(locator: IndexLocator, live: EntrySet): Visit {
  const { index } = locator;
  return (entry, space, ids, at) => {
    if (entry >= 0 && locator.isKept(entry)) {
      live.add(entry);
      return;
    }
    for (let copy = index.first(space, ids, at); copy >= 0; copy = index.next()) {
      if (locator.isKept(copy)) {
        live.add(copy);
        return;
      }
    }
    for (let copy = index.first(space, ids, at); copy >= 0; copy = index.next()) live.add(copy);
  };
}
