// Settles an anomaly that somebody has looked at, as an operation.
import { Type } from 'typebox';
import { formatTime, type GroupName, type Namespace, parseGroup, parseNamespace } from '../../schema/names.ts';
import type { Operation } from '../control/operation.ts';

export interface ClearRequest {
  readonly ns: Namespace;
  readonly group: GroupName;
  /** What was added was harm: it is not taken for usual, and what was protected stays so. */
  readonly wasAttack: boolean;
}

export interface Cleared {
  readonly group: GroupName;
  /** Snapshots that are no longer protected. */
  readonly unprotected: readonly string[];
}

/** Throws `not-found` when nothing unusual is noted of the group, `datastore-locked` while a backup of it runs. */
export const clearAnomaly: Operation<ClearRequest, Cleared> = {
  name: 'clear-anomaly',
  answer: Type.Object({ group: Type.String(), unprotected: Type.Array(Type.String()) }),
  run: async (store, request) => {
    const [ns, group] = [parseNamespace(request.ns), parseGroup(request.group)];
    const times = await store.keeping.clearAnomaly(ns, group, request.wasAttack);
    return { group, unprotected: times.map((time) => `${group}/${formatTime(time)}`) };
  },
};
