// Repair of an open store: copies out what damaged packs hold, and lets quarantined copies go that read well again.

import { Type } from 'typebox';
import { Count } from '../../schema/answer-parts.ts';
import type { Operation } from '../control/operation.ts';
import type { PackRepair } from './salvage-packs.ts';

export const repairPacks: Operation<{ dryRun: boolean }, PackRepair> = {
  name: 'repair',
  answer: Type.Object({
    packs: Type.Array(Type.Object({ file: Type.String(), problem: Type.String(), records: Count })),
    copiesReleased: Count,
  }),
  isLong: true,
  run: async (store, { dryRun }, { signal }) => await store.repairPacks(dryRun, signal),
};
