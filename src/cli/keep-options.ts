// The keep rules as options: of prune, and of what tries them out.
import type { Command } from 'commander';
import { KEEP_RULES, type KeepCounts, type KeepRule } from '../datastore/prune/keep-rules.ts';
import { wholeNumber } from './whole-number.ts';

const MAX_COUNT = 1_000_000;

const RULE_HELP: Readonly<Record<KeepRule, string>> = {
  'keep-last': 'keep the newest N snapshots',
  'keep-hourly': 'keep the newest of each of the last N hours with snapshots',
  'keep-daily': 'the same by days',
  'keep-weekly': 'the same by ISO weeks',
  'keep-monthly': 'the same by months',
  'keep-yearly': 'the same by years',
};

/** Commander's names of the rules: `keepLast` and so on. */
export interface KeepOptions {
  readonly [keep: `keep${string}`]: number | undefined;
}

export function addKeepOptions(command: Command): void {
  for (const rule of KEEP_RULES)
    command.option(`--${rule} <N>`, RULE_HELP[rule], (text: string) => wholeNumber(`--${rule}`, text, 0, MAX_COUNT));
}

/** The rules that were given. */
export function keepCounts(options: KeepOptions): KeepCounts {
  const given = KEEP_RULES.map((rule) => {
    const [, period = ''] = rule.split('-');
    return [rule, options[`keep${period[0]?.toUpperCase()}${period.slice(1)}`]] as const;
  });
  return Object.fromEntries(given.filter(([, count]) => count !== undefined));
}
