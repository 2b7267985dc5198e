// The groups that are held because of an anomaly, as a question.
import { Type } from 'typebox';
import type { GroupName, Namespace } from '../../schema/names.ts';
import { Anomaly } from '../../schema/state-files.ts';
import type { Query } from '../control/query.ts';
import { describeAnomaly } from './describe-anomaly.ts';
import { isHeld } from './watch-commit.ts';

/** Shown to everybody who sees the group. */
type Shown = 'time' | 'protected';

/** With its figures only for whoever may see sizes. */
export interface AnomalyRow extends Partial<Omit<Anomaly, Shown>>, Pick<Anomaly, Shown> {
  readonly ns: Namespace;
  readonly group: GroupName;
  /** What is unusual, as a sentence without its subject. */
  readonly text: string;
}

const RowAnswer = Type.Object({
  ...{ ns: Type.String(), group: Type.String(), text: Type.String() },
  // Figures are for whoever may see sizes.
  ...Type.Partial(Anomaly).properties,
  ...Type.Pick(Anomaly, ['time', 'protected']).properties,
});

/** Those of a namespace and of all below it. */
export const listAnomalies: Query<{ readonly ns: Namespace }, readonly AnomalyRow[]> = {
  name: 'anomalies',
  answer: Type.Array(RowAnswer),
  run: async ({ groups, seesSizes }, { ns: under }, signal) => {
    const rows: AnomalyRow[] = [];
    for (const ns of await groups.namespaces(under)) {
      for (const group of await groups.groups(ns)) {
        signal.throwIfAborted();
        const state = await groups.state(ns, group);
        if (!isHeld(state)) continue;
        const { time, protected: times } = state.anomaly;
        const shown = seesSizes ? state.anomaly : { time, protected: times };
        rows.push({ ns, group, ...shown, text: describeAnomaly(state.anomaly, seesSizes) });
      }
    }
    return rows;
  },
};
