// Matchers: which events go to which targets. Rules are kept as the texts that Proxmox has for them, and read when they are looked at.
import { HoldfastError } from '../util/errors.ts';
import { matchesWithin, parsePattern } from './bounded-regex.ts';
import { isWithin, parseDailyWindow } from './daily-window.ts';
import { fieldsOf, type NotifyEvent, SEVERITIES, type Severity } from './event.ts';

export interface Matcher {
  readonly name: string;
  readonly comment?: string | undefined;
  readonly enabled: boolean;
  /** Whether all rules must hold, or one is enough. Without rules a matcher takes every event. */
  readonly mode: 'all' | 'any';
  /** Takes what the rules do not. */
  readonly invert: boolean;
  /** Each `error` or `warning,error`. */
  readonly severity: readonly string[];
  /** Each `exact:NAME=VALUE[,VALUE]` or `regex:NAME=PATTERN`. */
  readonly field: readonly string[];
  /** Each such as `mon..fri 8-12`. */
  readonly calendar: readonly string[];
  readonly targets: readonly string[];
}

type Rule = (event: NotifyEvent) => boolean;

/** Who is told, and which matchers could not be asked. */
export interface Routing {
  readonly targets: readonly string[];
  readonly problems: readonly string[];
}

/** Each target once. A matcher that cannot be asked counts as one that matches: better told too much than nothing. */
export function route(event: NotifyEvent, matchers: readonly Matcher[]): Routing {
  const targets = new Set<string>();
  const problems: string[] = [];
  for (const matcher of matchers) {
    if (!matcher.enabled) continue;
    let isMatch = true;
    try {
      isMatch = matches(matcher, event);
    } catch (error) {
      problems.push(`matcher ${matcher.name} is taken as one that matches: ${(error as Error).message}`);
    }
    if (isMatch) for (const target of matcher.targets) targets.add(target);
  }
  return { targets: [...targets], problems };
}

/** @throws `bad-argument` for rules that are none, `timed-out` for a pattern. */
export function matches(matcher: Matcher, event: NotifyEvent): boolean {
  const rules = rulesOf(matcher);
  const holds = (rule: Rule): boolean => rule(event);
  const isMatch = rules.length === 0 || (matcher.mode === 'all' ? rules.every(holds) : rules.some(holds));
  return isMatch !== matcher.invert;
}

/** @throws `bad-argument` when a rule cannot be read. */
export function requireRules(matcher: Pick<Matcher, 'severity' | 'field' | 'calendar'>): void {
  rulesOf(matcher);
}

function rulesOf({ severity, field, calendar }: Pick<Matcher, 'severity' | 'field' | 'calendar'>): Rule[] {
  return [...severity.map(severityRule), ...field.map(fieldRule), ...calendar.map(calendarRule)];
}

function severityRule(text: string): Rule {
  const wanted = text.split(',').map((each) => each.trim());
  for (const each of wanted)
    if (!SEVERITIES.includes(each as Severity))
      throw new HoldfastError(
        'bad-argument',
        `${JSON.stringify(each.slice(0, 40))} is no severity; there are ${SEVERITIES.join(', ')}`,
      );
  return ({ severity }) => wanted.includes(severity);
}

function fieldRule(text: string): Rule {
  const [, kind, name, wanted] = /^(exact|regex):([A-Za-z0-9_][A-Za-z0-9_-]{0,63})=(.+)$/s.exec(text) ?? [];
  if (name === undefined || wanted === undefined)
    throw new HoldfastError(
      'bad-argument',
      `${JSON.stringify(text.slice(0, 100))} is no rule for a field; write exact:NAME=VALUE,VALUE or regex:NAME=PATTERN`,
    );
  const valueIn = (event: NotifyEvent): string | undefined => {
    const fields = fieldsOf(event);
    return Object.hasOwn(fields, name) ? fields[name] : undefined;
  };
  if (kind === 'exact') {
    const values = wanted.split(',');
    return (event) => values.includes(valueIn(event) ?? '');
  }
  const pattern = parsePattern(wanted);
  return (event) => {
    const value = valueIn(event);
    return value !== undefined && matchesWithin(pattern, value);
  };
}

function calendarRule(text: string): Rule {
  const window = parseDailyWindow(text);
  return ({ time }) => isWithin(window, time);
}
