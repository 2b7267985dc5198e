// What should have happened and has not, and what looks unusual: pure rules over facts. An alarm that is raised ends a little later than it began, so that a figure that
// swings does not raise it every hour.
import type { Severity } from '../event.ts';

const HOUR = 3600;
const DAY = 24 * HOUR;
/** A forecast must be so much further away than what raised the alarm. */
const CLEAR_AT = 1.25;

export interface GroupFact {
  readonly datastore: string;
  readonly ns: string;
  /** `vm/100`. */
  readonly group: string;
  /** Unix seconds of the newest snapshot that is good; undefined when none is. */
  readonly lastGood: number | undefined;
  /** What is unusual about its snapshots, as a sentence without its subject; undefined when nothing is, or somebody has looked. */
  readonly anomaly: string | undefined;
}

export interface DatastoreFact {
  readonly name: string;
  /** Unix seconds; undefined when it is not in sight, or there is too little to tell from. */
  readonly fullAt: number | undefined;
  /** Unix seconds of the verification that is the longest ago, of snapshots that are as old as the rule says; 0 for never. Undefined without any. */
  readonly oldestVerify: number | undefined;
}

export interface AlarmFacts {
  readonly groups: readonly GroupFact[];
  readonly datastores: readonly DatastoreFact[];
}

/** 0 switches a rule off. */
export interface AlarmRules {
  readonly backupHours: number;
  readonly fullDays: number;
  readonly verifyDays: number;
}
export const USUAL_RULES: AlarmRules = { backupHours: 48, fullDays: 14, verifyDays: 60 };

export const ALARM_TYPES = ['absence', 'disk-forecast', 'verify', 'anomaly'] as const;
export type AlarmType = (typeof ALARM_TYPES)[number];

export interface Alarm {
  /** The same as long as it is the same alarm. */
  readonly key: string;
  readonly type: AlarmType;
  readonly severity: Severity;
  readonly datastore: string;
  /** What it is about, for a table. */
  readonly object: string;
  readonly text: string;
}

/** `now` in Unix seconds. `isRaised` says which are raised already. */
export function alarmsOf(
  facts: AlarmFacts,
  rules: AlarmRules,
  now: number,
  isRaised: (key: string) => boolean,
): readonly Alarm[] {
  return [
    ...facts.groups.flatMap((group) => [...absence(group, rules.backupHours, now), ...unusual(group)]),
    ...facts.datastores.flatMap((store) => [
      ...fullSoon(store, rules.fullDays, now, isRaised),
      ...outdated(store, rules.verifyDays, now),
    ]),
  ];
}

function absence({ datastore, ns, group, lastGood }: GroupFact, hours: number, now: number): Alarm[] {
  if (hours === 0 || (lastGood !== undefined && now - lastGood <= hours * HOUR)) return [];
  const object = objectOf(ns, group);
  const text = lastGood === undefined ? 'has no good backup' : `has no good backup since ${ago(now - lastGood)}`;
  return [{ key: `absence:${datastore}:${object}`, type: 'absence', severity: 'error', datastore, object, text }];
}

/** Whether it is one says the datastore, by its own limit. */
function unusual({ datastore, ns, group, anomaly }: GroupFact): Alarm[] {
  if (anomaly === undefined) return [];
  const object = objectOf(ns, group);
  const text = `${anomaly}; it is not pruned until somebody has looked (holdfast anomaly list)`;
  return [{ key: `anomaly:${datastore}:${object}`, type: 'anomaly', severity: 'error', datastore, object, text }];
}

function objectOf(ns: string, group: string): string {
  return ns === '' ? group : `${ns}/${group}`;
}

function fullSoon(
  { name, fullAt }: DatastoreFact,
  days: number,
  now: number,
  isRaised: (key: string) => boolean,
): Alarm[] {
  const key = `disk-forecast:${name}`;
  const limit = days * DAY * (isRaised(key) ? CLEAR_AT : 1);
  if (days === 0 || fullAt === undefined || fullAt - now > limit) return [];
  const day = new Date(fullAt * 1000).toISOString().slice(0, 10);
  const text =
    fullAt <= now ? 'is about to be full' : `will be full in ${ago(fullAt - now)}, on ${day}, if it grows on as it did`;
  return [{ key, type: 'disk-forecast', severity: 'warning', datastore: name, object: name, text }];
}

function outdated({ name, oldestVerify }: DatastoreFact, days: number, now: number): Alarm[] {
  if (days === 0 || oldestVerify === undefined || now - oldestVerify <= days * DAY) return [];
  const text =
    oldestVerify === 0
      ? 'has snapshots that were never verified'
      : `has snapshots that were last verified ${ago(now - oldestVerify)} ago`;
  return [{ key: `verify:${name}`, type: 'verify', severity: 'warning', datastore: name, object: name, text }];
}

/** `26 hours`, `3 days`. */
function ago(seconds: number): string {
  const hours = Math.max(1, Math.round(seconds / HOUR));
  if (hours < 72) return hours === 1 ? '1 hour' : `${hours} hours`;
  return `${Math.round(hours / 24)} days`;
}
