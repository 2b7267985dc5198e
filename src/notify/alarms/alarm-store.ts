// Alarms that were raised and are not resolved, as rows: behind it stands the state database.

export interface RaisedAlarm {
  readonly key: string;
  /** Unix milliseconds. */
  readonly raisedMs: number;
  readonly subject: string;
  /** Those of the event that told it, besides those that its key has. */
  readonly fields: Readonly<Record<string, string>>;
}

export interface AlarmStore {
  raised(): readonly RaisedAlarm[];
  put(alarm: RaisedAlarm): void;
  remove(key: string): void;
}
