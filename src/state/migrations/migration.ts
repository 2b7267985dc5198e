// One step of the state database's schema. A step that was released is never changed: later ones change what it made.

export interface Migration {
  /** Steps count from 1 without gaps. */
  readonly version: number;
  /** SQL statements; run in one transaction with all steps before that are missing. */
  readonly up: string;
}
