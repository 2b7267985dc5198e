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

/** One line of an event: several alarms of a datastore are one event. */
interface Said {
  readonly key: string;
  readonly type: AlarmType;
  readonly severity: Severity;
  readonly datastore: string;
  readonly object: string;
  readonly text: string;
}

/** An alarm that is raised, for people. */
export interface AlarmView {
  readonly type: AlarmType;
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
};

const MISSING = 'What should have happened has not:';
const INTRODUCTION: Readonly<Record<AlarmType, string>> = {
  absence: MISSING,
  'disk-forecast': MISSING,
  verify: MISSING,
  anomaly:
    'A backup added far more than usual, as after an attack. Look at the guest before older snapshots are needed:',
};

export class AlarmKeeper {
  readonly #parts: AlarmKeeperParts;

  constructor(parts: AlarmKeeperParts) {
    this.#parts = parts;
  }

  raised(): readonly RaisedAlarm[] {
    return this.#parts.store.raised();
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
      for (const { key, object, text } of fresh) store.put({ key, raisedMs: nowMs, subject: `${object} ${text}` });
      for (const { key } of resolved) store.remove(key);
    });
  }

  #tell(said: readonly Said[], nowMs: number, isOver: boolean): void {
    const [first] = said;
    if (first === undefined) return;
    const { type, severity, datastore } = first;
    const subject =
      said.length === 1
        ? `${datastore}: ${first.object === datastore ? 'the datastore' : first.object} ${first.text}`
        : `${datastore}: ${isOver ? 'resolved' : WHAT[type]} (${said.length})`;
    const table = { columns: ['what', 'state'], rows: said.map(({ object, text }) => [object, text]) };
    this.#parts.tell({
      type: type === 'verify' ? 'absence' : type,
      severity: isOver ? 'notice' : severity,
      time: Math.floor(nowMs / 1000),
      node: this.#parts.node,
      subject,
      text: isOver ? 'An alarm is over:' : INTRODUCTION[type],
      fields: { datastore, alarm: type, state: isOver ? 'resolved' : 'raised' },
      table,
    });
  }
}

export function alarmView({ key, raisedMs, subject }: RaisedAlarm): AlarmView {
  const { type, datastore } = placeOf(key);
  return { type, datastore, raised: Math.floor(raisedMs / 1000), text: subject };
}

/** Of `TYPE:DATASTORE` or `TYPE:DATASTORE:OBJECT`; names of datastores have no colon. */
function placeOf(key: string): { type: AlarmType; datastore: string; object: string } {
  const [type, datastore = '', ...object] = key.split(':');
  return { type: type as AlarmType, datastore, object: object.length === 0 ? datastore : object.join(':') };
}

function resolvedOf({ key, subject }: RaisedAlarm): Said {
  const { type, datastore, object } = placeOf(key);
  return { key, type, severity: 'notice', datastore, object, text: `is well again; it was: ${subject}` };
}

function byPlace(said: readonly Said[]): readonly (readonly Said[])[] {
  const places = new Map<string, Said[]>();
  for (const each of said) {
    const place = `${each.type}:${each.datastore}`;
    const others = places.get(place);
    if (others === undefined) places.set(place, [each]);
    else others.push(each);
  }
  return [...places.values()];
}
