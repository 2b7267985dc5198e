// What happened and is worth telling: the one shape that everything in the server says it in. Bounded here, so that nothing behind needs to be.

/** From the least to the worst. */
export const SEVERITIES = ['info', 'notice', 'warning', 'error'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** Rows as texts; columns named in `right` hold numbers. */
export interface EventTable {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly right?: readonly string[];
}

export interface NotifyEvent {
  /** `gc`, `prune`, `verify`, `backup`, `sync`, `absence`, `disk-forecast`, `anomaly`, `digest`, `system`, `test`. */
  readonly type: string;
  readonly severity: Severity;
  /** Unix seconds. */
  readonly time: number;
  /** Where it happened. */
  readonly node: string;
  /** One line. */
  readonly subject: string;
  /** Plain text, lines. */
  readonly text: string;
  /** For matchers and templates, besides `type` and `hostname`. */
  readonly fields: Readonly<Record<string, string>>;
  readonly table?: EventTable;
}

const MAX = { subject: 250, text: 64 * 1024, fields: 32, field: 1024, rows: 1000, columns: 16, cell: 500 } as const;
const FIELD_NAME = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$/;

/** The event without control characters, and cut where it is longer than anybody reads. What was cut is said. */
export function boundedEvent(event: NotifyEvent): NotifyEvent {
  const { table } = event;
  const fields = Object.entries(event.fields)
    .filter(([name]) => FIELD_NAME.test(name))
    .slice(0, MAX.fields)
    .map(([name, value]) => [name, oneLine(value, MAX.field)] as const);
  return {
    type: event.type,
    severity: event.severity,
    time: event.time,
    node: oneLine(event.node, 64),
    subject: oneLine(event.subject, MAX.subject),
    text: lines(event.text, MAX.text),
    fields: Object.fromEntries(fields),
    ...(table !== undefined && { table: boundedTable(table) }),
  };
}

/** What matchers and templates look at: the fields, with those that every event has. */
export function fieldsOf({ type, node, fields }: NotifyEvent): Readonly<Record<string, string>> {
  return { ...fields, type, hostname: node };
}

/** The worst of them; `info` of none. */
export function worst(severities: readonly Severity[]): Severity {
  return SEVERITIES[Math.max(0, ...severities.map((each) => SEVERITIES.indexOf(each)))] ?? 'info';
}

function boundedTable({ columns, rows, right }: EventTable): EventTable {
  const width = columns.slice(0, MAX.columns).length;
  const kept = rows.slice(0, MAX.rows).map((row) => row.slice(0, width).map((cell) => oneLine(cell, MAX.cell)));
  const left = rows.length - kept.length;
  return {
    columns: columns.slice(0, width).map((name) => oneLine(name, 64)),
    rows: left === 0 ? kept : [...kept, [`and ${left} more`, ...Array<string>(width - 1).fill('')]],
    ...(right !== undefined && { right }),
  };
}

/** A line break in a subject would be a header of a mail. */
export function oneLine(text: string, max: number): string {
  return cut(text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').trim(), max);
}

function lines(text: string, max: number): string {
  return cut(text.replace(/\r\n?/g, '\n').replace(/[^\P{Cc}\n\t]/gu, '\u{fffd}'), max);
}

function cut(text: string, max: number): string {
  // Not between the halves of a character beyond 16 bits.
  return text.length <= max ? text : `${text.slice(0, max - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}
