// The digest of a night: every task that ended in a window, as one message that can be read. What went wrong stands first.
import { formatBytes } from '../util/format-bytes.ts';
import { type NotifyEvent, type Severity, worst } from './event.ts';

export interface EndedTask {
  readonly type: string;
  /** What it worked on. */
  readonly id: string;
  /** Unix seconds. */
  readonly start: number;
  readonly end: number;
  readonly outcome: 'ok' | 'warning' | 'error' | 'unknown';
  /** `OK`, `WARNINGS: 3`, or what went wrong. */
  readonly status: string;
  /** What it stored, freed or read, where it says so. */
  readonly sizeBytes?: number | undefined;
  readonly warnings?: readonly string[] | undefined;
}

const COLUMNS = ['what', 'when', 'how long', 'size', 'result'];
const SEVERITY = { ok: 'info', warning: 'warning', error: 'error', unknown: 'error' } as const;
/** Lines of warnings below the table; the logs of the tasks have all of them. */
const MAX_WARNINGS = 200;

/** From `since` to `until`, Unix seconds; `more` tasks that are not in the list. */
export function digestOf(
  tasks: readonly EndedTask[],
  { since, until, node, more = 0 }: { since: number; until: number; node: string; more?: number },
): NotifyEvent {
  const severity = worst(tasks.map(({ outcome }) => SEVERITY[outcome]));
  const count = (wanted: Severity): number => tasks.filter(({ outcome }) => SEVERITY[outcome] === wanted).length;
  const [failed, warned, well] = [count('error'), count('warning'), count('info')];
  const summary = [
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(warned > 0 ? [`${warned} with warnings`] : []),
    `${well} well`,
  ].join(', ');
  const ordered = [...tasks].sort((a, b) => rank(b) - rank(a) || a.start - b.start);
  const warnings = ordered.flatMap(({ type, id, warnings: lines = [] }) =>
    lines.map((line) => `${type} ${id}: ${line}`),
  );
  const text = [
    `From ${local(since)} to ${local(until)}: ${tasks.length === 0 ? 'no task ended' : summary}.`,
    ...(more > 0 ? [`${more} more tasks ended; the list of tasks has them.`] : []),
    ...(warnings.length === 0 ? [] : ['', 'Warnings:', ...warnings.slice(0, MAX_WARNINGS)]),
    ...(warnings.length > MAX_WARNINGS ? [`and ${warnings.length - MAX_WARNINGS} more`] : []),
  ];
  return {
    type: 'digest',
    severity,
    time: until,
    node,
    subject: `Backups of ${node}: ${tasks.length === 0 ? 'nothing ran' : summary}`,
    text: text.join('\n'),
    fields: { failed: String(failed), warnings: String(warned), ok: String(well) },
    ...(tasks.length > 0 && { table: { columns: COLUMNS, rows: ordered.map(rowOf), right: ['how long', 'size'] } }),
  };
}

function rank({ outcome }: EndedTask): number {
  return { ok: 0, warning: 1, unknown: 2, error: 2 }[outcome];
}

function rowOf({ type, id, start, end, status, sizeBytes }: EndedTask): string[] {
  const size = sizeBytes === undefined ? '' : formatBytes(sizeBytes);
  return [`${type} ${id}`.trim(), local(start), lasting(end - start), size, status];
}

/** In the time zone of the server, where the reader most likely is. */
function local(time: number): string {
  const at = new Date(time * 1000);
  const two = (part: number): string => String(part).padStart(2, '0');
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

function lasting(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
