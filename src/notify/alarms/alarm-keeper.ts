// Says each alarm once, and again after it was resolved. What was said is durable together with the event that says it: a restart in between
// neither doubles an alarm nor loses it.
import type { NotifyEvent, Severity } from '../event.ts';
import { type AlarmFacts, type AlarmRules, type AlarmType, alarmsOf } from './alarm-rules.ts';
import type { AlarmStore, RaisedAlarm } from './alarm-store.ts';

export interface AlarmKeeperParts {
  readonly store: AlarmStore;
  readonly tell: (event: NotifyEvent) => void;
  readonly transactions: { atomically<Result>(work: () => Result): Result };
  readonly node: string;
  readonly clock: () => number;
}

/** One line of an event: several alarms of a datastore are one event; those of jobs are not, for each has fields of its own. */
interface Said {
  readonly key: string;
  readonly type: AlarmType;
  readonly severity: Severity;
  readonly datastore: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly object: string;
  readonly text: string;
}

/** An alarm that is raised, for people. */
export interface AlarmView {
  readonly type: AlarmType;
  /** Empty for one that is of none. */
  readonly datastore: string;
  /** Unix seconds. */
  readonly raised: number;
  readonly text: string;
}

const WHAT: Readonly<Record<AlarmType, string>> = {
  absence: 'backups are missing',
  'disk-forecast': 'the datastore is getting full',
  verify: 'verifications are outdated',
  anomaly: 'backups look unusual',
  'job-behind': 'jobs are behind',
};

const MISSING = 'What should have happened has not:';
const INTRODUCTION: Readonly<Record<AlarmType, string>> = {
  absence: MISSING,
  'disk-forecast': MISSING,
  verify: MISSING,
  'job-behind': MISSING,
  anomaly: 'A backup is unusual, as after an attack. Look at the guest before older snapshots are needed:',
};

export class AlarmKeeper {
  readonly #parts: AlarmKeeperParts;

  constructor(parts: AlarmKeeperParts) {
    this.#parts = parts;
  }

  raised(): readonly RaisedAlarm[] {
    return this.#parts.store.raised();
  }

  isRaised(key: string): boolean {
    return this.raised().some((each) => each.key === key);
  }

  /** `unknown` names datastores that could not be asked: what is raised of them stays. Datastores that are in neither are gone, with their alarms. */
  check(facts: AlarmFacts, unknown: ReadonlySet<string>, rules: AlarmRules): void {
    const { store, transactions, clock } = this.#parts;
    transactions.atomically(() => {
      const nowMs = clock();
      const before = new Map(store.raised().map((each) => [each.key, each]));
      const alarms = alarmsOf(facts, rules, Math.floor(nowMs / 1000), (key) => before.has(key));
      const now = new Set(alarms.map(({ key }) => key));
      const fresh = alarms.filter(({ key }) => !before.has(key));
      const resolved = [...before.values()].filter(({ key }) => !now.has(key) && !unknown.has(placeOf(key).datastore));
      for (const said of byPlace(fresh)) this.#tell(said, nowMs, false);
      for (const said of byPlace(resolved.map(resolvedOf))) this.#tell(said, nowMs, true);
      for (const { key, object, text, fields } of fresh)
        store.put({ key, raisedMs: nowMs, subject: `${object} ${text}`, fields });
      for (const { key } of resolved) store.remove(key);
    });
  }

  #tell(said: readonly Said[], nowMs: number, isOver: boolean): void {
    const [first] = said;
    if (first === undefined) return;
    const { type, severity, datastore, fields } = first;
    const place = datastore === '' ? '' : `${datastore}: `;
    const subject =
      said.length === 1
        ? `${place}${first.object === datastore ? 'the datastore' : first.object} ${first.text}`
        : `${place}${isOver ? 'resolved' : WHAT[type]} (${said.length})`;
    const table = { columns: ['what', 'state'], rows: said.map(({ object, text }) => [object, text]) };
    this.#parts.tell({
      type: type === 'verify' || type === 'job-behind' ? 'absence' : type,
      severity: isOver ? 'notice' : severity,
      time: Math.floor(nowMs / 1000),
      node: this.#parts.node,
      subject,
      text: isOver ? 'An alarm is over:' : INTRODUCTION[type],
      fields: { ...fields, alarm: type, state: isOver ? 'resolved' : 'raised' },
      table,
    });
  }
}

export function alarmView({ key, raisedMs, subject, fields }: RaisedAlarm): AlarmView {
  const { type, datastore } = placeOf(key);
  return { type, datastore: fields.datastore ?? datastore, raised: Math.floor(raisedMs / 1000), text: subject };
}

/** Of `TYPE:DATASTORE` or `TYPE:DATASTORE:OBJECT`; names of datastores have no colon. */
function placeOf(key: string): { type: AlarmType; datastore: string; object: string } {
  const [type, datastore = '', ...object] = key.split(':');
  return { type: type as AlarmType, datastore, object: object.length === 0 ? datastore : object.join(':') };
}

function resolvedOf({ key, subject, fields: kept }: RaisedAlarm): Said {
  const { type, datastore: ofKey, object } = placeOf(key);
  const datastore = kept.datastore ?? ofKey;
  const fields = datastore === '' ? kept : { ...kept, datastore };
  // A job may have been disabled.
  const text = `is ${type === 'job-behind' ? 'behind no more' : 'well again'}; it was: ${subject}`;
  return { key, type, severity: 'notice', datastore, fields, object, text };
}

function byPlace(said: readonly Said[]): readonly (readonly Said[])[] {
  const places = new Map<string, Said[]>();
  for (const each of said) {
    const place = each.type === 'job-behind' ? each.key : `${each.type}:${each.datastore}`;
    const others = places.get(place);
    if (others === undefined) places.set(place, [each]);
    else others.push(each);
  }
  return [...places.values()];
}
