// The accounting run as an operation that any process may ask for.

import { Type } from 'typebox';
import { Accounting } from '../../schema/accounting-file.ts';
import { Count } from '../../schema/answer-parts.ts';
import type { Operation } from '../control/operation.ts';

export type AccountingSummary = Omit<Accounting, 'snapshots' | 'shared' | 'format'> & { readonly snapshots: number };

/** `holdfast datastore account`. */
export const accountSpace: Operation<Record<string, never>, AccountingSummary> = {
  name: 'account',
  answer: Type.Object({ ...Type.Omit(Accounting, ['snapshots', 'shared', 'format']).properties, snapshots: Count }),
  isLong: true,
  run: async (store, _, { signal, warn }) => {
    const { snapshots, shared: _shared, format: _format, ...rest } = await store.account(signal, warn);
    return { ...rest, snapshots: snapshots.length };
  },
};
