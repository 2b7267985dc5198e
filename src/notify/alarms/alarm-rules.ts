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

/** Of a job; times in Unix seconds. */
export interface JobFact {
  readonly kind: string;
  readonly id: string;
  /** What it works on, as far as it names them. */
  readonly datastore: string | undefined;
  readonly node: string | undefined;
  /** When its last good run began. */
  readonly lastGood: number | undefined;
  /** Its second slot in a row without a good run since; in the future for one that is in time, undefined where none is due by the clock. */
  readonly missed: number | undefined;
  /** A run that may still make up for it: since when it works or waits, and how long it may work. Undefined when one has failed since then. */
  readonly hope: { readonly since: number; readonly mayTake: number | undefined } | undefined;
}

export interface AlarmFacts {
  readonly groups: readonly GroupFact[];
  readonly datastores: readonly DatastoreFact[];
  readonly jobs: readonly JobFact[];
}

/** 0 switches a rule off. */
export interface AlarmRules {
  readonly backupHours: number;
  readonly fullDays: number;
  readonly verifyDays: number;
  /** After the second slot in a row without a good run. */
  readonly jobHours: number;
}
export const USUAL_RULES: AlarmRules = { backupHours: 48, fullDays: 14, verifyDays: 60, jobHours: 12 };

export const ALARM_TYPES = ['absence', 'disk-forecast', 'verify', 'anomaly', 'job-behind'] as const;
export type AlarmType = (typeof ALARM_TYPES)[number];

export interface Alarm {
  /** The same as long as it is the same alarm. */
  readonly key: string;
  readonly type: AlarmType;
  readonly severity: Severity;
  /** Empty for one that is of none. */
  readonly datastore: string;
  /** For matchers, besides its type. */
  readonly fields: Readonly<Record<string, string>>;
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
    ...facts.jobs.flatMap((job) => behind(job, rules.jobHours, now, isRaised)),
  ];
}

function absence({ datastore, ns, group, lastGood }: GroupFact, hours: number, now: number): Alarm[] {
  if (hours === 0 || (lastGood !== undefined && now - lastGood <= hours * HOUR)) return [];
  const object = objectOf(ns, group);
  const text = lastGood === undefined ? 'has no good backup' : `has no good backup since ${ago(now - lastGood)}`;
  return [of('absence', 'error', datastore, object, text)];
}

/** Whether it is one says the datastore, by its own limit. */
function unusual({ datastore, ns, group, anomaly }: GroupFact): Alarm[] {
  if (anomaly === undefined) return [];
  const object = objectOf(ns, group);
  const text = `${anomaly}; it is not pruned until somebody has looked (holdfast anomaly list)`;
  return [of('anomaly', 'error', datastore, object, text)];
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
  return [{ ...of('disk-forecast', 'warning', name, name, text), key }];
}

function outdated({ name, oldestVerify }: DatastoreFact, days: number, now: number): Alarm[] {
  if (days === 0 || oldestVerify === undefined || now - oldestVerify <= days * DAY) return [];
  const text =
    oldestVerify === 0
      ? 'has snapshots that were never verified'
      : `has snapshots that were last verified ${ago(now - oldestVerify)} ago`;
  return [{ ...of('verify', 'warning', name, name, text), key: `verify:${name}` }];
}

/** Whether a job has missed its times, `now` in Unix seconds. Of one that is raised only a good run is the end, not that another one has begun. */
export function isBehind(
  { missed, hope }: Pick<JobFact, 'missed' | 'hope'>,
  hours: number,
  now: number,
  isRaised: boolean,
): boolean {
  if (hours === 0 || missed === undefined) return false;
  const patience = hours * HOUR;
  const hoped = hope === undefined || isRaised ? 0 : hope.since + (hope.mayTake ?? patience);
  return now > Math.max(missed + patience, hoped);
}

/** Its datastore is not a part of the key: what cannot be asked about it says nothing of the job. */
export function behindKey({ kind, id }: Pick<JobFact, 'kind' | 'id'>): string {
  return `job-behind::job ${kind}/${id}`;
}

function behind(job: JobFact, hours: number, now: number, isRaised: (key: string) => boolean): Alarm[] {
  const key = behindKey(job);
  if (!isBehind(job, hours, now, isRaised(key))) return [];
  const { kind, id, datastore, node, lastGood } = job;
  const text = `is behind: no run of it ended well ${lastGood === undefined ? 'yet' : `since ${ago(now - lastGood)}`}`;
  const alarm = of('job-behind', 'error', datastore ?? '', `job ${kind}/${id}`, text);
  const fields = { 'job-kind': kind, 'job-id': id, ...(datastore && { datastore }), ...(node && { node }) };
  return [{ ...alarm, key, fields }];
}

function of(type: AlarmType, severity: Severity, datastore: string, object: string, text: string): Alarm {
  return { key: `${type}:${datastore}:${object}`, type, severity, datastore, fields: { datastore }, object, text };
}

/** `26 hours`, `3 days`. */
function ago(seconds: number): string {
  const hours = Math.max(1, Math.round(seconds / HOUR));
  if (hours < 72) return hours === 1 ? '1 hour' : `${hours} hours`;
  return `${Math.round(hours / 24)} days`;
}
