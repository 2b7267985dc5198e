// Alarms that were raised and are not resolved, as rows: behind it stands the state database.

export interface RaisedAlarm {
  readonly key: string;
  /** Unix milliseconds. */
  readonly raisedMs: number;
  readonly subject: string;
}

export interface AlarmStore {
  raised(): readonly RaisedAlarm[];
  put(alarm: RaisedAlarm): void;
  remove(key: string): void;
}
