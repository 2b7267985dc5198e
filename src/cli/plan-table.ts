// The plan of a prune as a table.
import type { PlannedSnapshot } from '../datastore/prune/plan.ts';
import { table } from './output.ts';

export interface PlanText {
  /** The time zone whose days and weeks were counted. */
  readonly zone: string;
  readonly isDryRun: boolean;
  /** A sentence for each snapshot in place of the name of the rule. */
  readonly isExplained: boolean;
}

/** Rows of one namespace, or with the namespace of each. */
export function planTable(
  rows: readonly (PlannedSnapshot & { readonly ns?: string })[],
  { zone, isDryRun, isExplained }: PlanText,
): string {
  const going = rows.filter(({ keep }) => !keep).length;
  const isOfMany = rows.some(({ ns = '' }) => ns !== '');
  const plan = table(
    [...(isOfMany ? ['namespace'] : []), 'snapshot', 'plan', isExplained ? 'reason' : 'rule'],
    rows.map(({ ns = '', snapshot, keep, rule, reason }) => [
      ...(isOfMany ? [ns] : []),
      snapshot,
      keep ? 'keep' : 'remove',
      isExplained ? reason : (rule ?? ''),
    ]),
  );
  const summary = `${rows.length - going} stay, ${going} go; days and weeks are those of ${zone}`;
  return `${plan}\n\n${summary}${isDryRun ? '; nothing was removed (--dry-run)' : ''}`;
}
