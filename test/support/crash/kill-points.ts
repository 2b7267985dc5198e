// Chooses where a command is killed: before or in the middle of counted calls, every kind of call at least once, and at random times.
import type { FaultCall, FaultOp } from '../faults/faults.ts';
import { randomNumbers } from '../power-cut/crash-points.ts';

/** `kill`: before the call; `tear`: after half of it; `timed`: whenever that is. */
export type KillPoint =
  | { readonly kind: 'kill' | 'tear'; readonly call: number }
  | { readonly kind: 'timed'; readonly afterMs: number };

/** A fifth of the points are timed. */
const TIMED_SHARE = 0.2;
/** Before that nothing of ours has run. */
const START_MS = 60;

/**
 * `count` points for a command that made these calls. The same for the same calls and seed. Calls of each kind take turns, each kind
 * spread over its own calls, the last call always included: it is often the commit.
 */
export function spreadKillPoints(
  calls: readonly FaultCall[],
  { count, seed, durationMs }: { count: number; seed: number; durationMs: number },
): KillPoint[] {
  const random = randomNumbers(seed);
  const timed = calls.length === 0 ? count : Math.floor(count * TIMED_SHARE);
  const wanted = Math.min(count - timed, 2 * calls.length);
  const byOp = new Map<FaultOp, number[]>();
  for (const call of calls) {
    const list = byOp.get(call.op);
    if (list === undefined) byOp.set(call.op, [call.number]);
    else list.push(call.number);
  }
  const points: KillPoint[] = [];
  const shares = turns(
    [...byOp.values()].map((list) => list.length),
    wanted,
  );
  for (const [place, list] of [...byOp.values()].entries()) {
    const share = shares[place]!;
    for (let at = 0; at < share; at++) {
      const from = (at * list.length) / share;
      const chosen =
        at === share - 1 && share > 1 ? list.length - 1 : Math.floor(from + random() * (list.length / share));
      points.push({ kind: random() < 0.3 ? 'tear' : 'kill', call: list[Math.min(chosen, list.length - 1)]! });
    }
  }
  for (let at = 0; at < timed; at++)
    points.push({ kind: 'timed', afterMs: Math.round(START_MS + random() * durationMs) });
  return points;
}

/** Deals `wanted` out to kinds with so many calls each, one at a time; twice as many as calls at most. */
function turns(lengths: readonly number[], wanted: number): number[] {
  const shares = lengths.map(() => 0);
  for (let left = wanted; left > 0; ) {
    const before = left;
    for (let place = 0; place < lengths.length && left > 0; place++) {
      if (shares[place]! >= 2 * lengths[place]!) continue;
      shares[place]!++;
      left--;
    }
    if (left === before) break;
  }
  return shares;
}
