// The plan of a prune as a question: made where the snapshots are, carried out by whoever asked for it.

import { Type } from 'typebox';
import { Count, TextOrNull } from '../../schema/answer-parts.ts';
import type { GroupName, Namespace } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { Query } from '../control/query.ts';
import { persistedClockMs } from '../store-clock.ts';
import { localZone } from './calendar.ts';
import type { KeepCounts } from './keep-rules.ts';
import { type PrunePlan, planPrune } from './plan.ts';

export interface PrunePlanRequest {
  readonly ns: Namespace;
  /** Null is every group of the namespace. */
  readonly groups: readonly GroupName[] | null;
  readonly counts: KeepCounts;
}

/** The plan, and the zone whose days and weeks it counts. */
export interface ZonedPlan extends PrunePlan {
  readonly zone: string;
}

const PlanAnswer = Type.Object({
  groups: Type.Array(
    Type.Object({
      group: Type.String(),
      snapshots: Type.Array(
        Type.Object({
          snapshot: Type.String(),
          time: Count,
          keep: Type.Boolean(),
          rule: TextOrNull,
          reason: Type.String(),
        }),
      ),
    }),
  ),
  warnings: Type.Array(Type.String()),
  zone: Type.String(),
});

/** Throws `not-found` when one of the groups is not there. */
export const prunePlan: Query<PrunePlanRequest, ZonedPlan> = {
  name: 'prune-plan',
  answer: PlanAnswer,
  run: async ({ groups, layout }, { ns, groups: wanted, counts }, signal) => {
    const all = await groups.groups(ns);
    const absent = wanted?.find((group) => !all.includes(group));
    if (absent !== undefined) {
      const where = ns === '' ? '' : ` in namespace ${ns}`;
      throw new HoldfastError('not-found', `there is no group ${absent}${where}; see: holdfast snapshot list`);
    }
    const zone = localZone();
    const clockMs = await persistedClockMs(layout.clock);
    // In the order of all, and each once.
    const chosen = wanted === null ? all : all.filter((group) => wanted.includes(group));
    const request = { ns, groups: chosen, counts, clockMs };
    const plan = await planPrune(groups, request, signal);
    const warnings = zone.warning === undefined ? plan.warnings : [zone.warning, ...plan.warnings];
    return { ...plan, warnings, zone: zone.name };
  },
};
