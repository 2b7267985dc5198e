// Templates of webhooks: `{{title}}`, `{{fields.datastore}}`, `{{json message}}`. No loops and no code: whoever writes one can show what an event
// says, and nothing else.
import { HoldfastError } from '../util/errors.ts';
import { fieldsOf, type NotifyEvent, SEVERITIES } from './event.ts';
import { plainText } from './render.ts';

const PLACE = /\{\{\s*(?:(json|escape|url-encode)\s+)?([A-Za-z]+(?:\.[A-Za-z0-9_-]+)?)\s*\}\}/g;
/** What a rendered body may be: texts of an event stand in it several times at most. */
const MAX_RENDERED = 1024 * 1024;

type Value = string | number | Readonly<Record<string, string>>;
const HELPERS: Readonly<Record<string, (value: Value) => string>> = {
  json: (value) => JSON.stringify(value),
  escape: (value) => JSON.stringify(String(value)).slice(1, -1),
  'url-encode': (value) => encodeURIComponent(String(value)),
};

/** @throws `bad-argument` for a name that is not known and for braces that are left: a typo would be sent as it is. */
export function requireTemplate(template: string, secrets: Readonly<Record<string, string>>): void {
  const known = new Set([
    'title',
    'message',
    'severity',
    'priority',
    'timestamp',
    'time',
    'type',
    'hostname',
    'fields',
  ]);
  for (const [place, helper, name = ''] of template.matchAll(PLACE)) {
    const [kind, part] = name.split('.');
    const isKnown =
      part === undefined ? known.has(name) : kind === 'fields' || (kind === 'secrets' && Object.hasOwn(secrets, part));
    if (!isKnown || (name === 'fields' && helper !== 'json'))
      throw new HoldfastError(
        'bad-argument',
        `a template knows nothing like ${place}; there are ${[...known].join(', ')}, fields.NAME, secrets.NAME of secrets that are set, and {{json fields}}`,
      );
  }
  if (/\{\{|\}\}/.test(template.replace(PLACE, '')))
    throw new HoldfastError(
      'bad-argument',
      'a template has {{ or }} that belong to no name; write {{title}} or {{json message}}',
    );
}

/** A field that the event has not is empty. @throws `too-large`. */
export function render(template: string, event: NotifyEvent, secrets: Readonly<Record<string, string>>): string {
  let left = MAX_RENDERED;
  const count = (text: string): string => {
    left -= text.length;
    if (left < 0)
      throw new HoldfastError('too-large', 'what a template makes is larger than 1 MiB; use {{message}} fewer times');
    return text;
  };
  return template.replace(PLACE, (_, helper: string | undefined, name: string) =>
    count((HELPERS[helper ?? ''] ?? String)(valueOfName(name, event, secrets))),
  );
}

function valueOfName(name: string, event: NotifyEvent, secrets: Readonly<Record<string, string>>): Value {
  const [kind, part] = name.split('.');
  const fields = fieldsOf(event);
  if (part !== undefined) {
    const from = kind === 'secrets' ? secrets : fields;
    return Object.hasOwn(from, part) ? (from[part] ?? '') : '';
  }
  const values: Readonly<Record<string, Value>> = {
    title: event.subject,
    message: plainText(event),
    severity: event.severity,
    // As ntfy counts: 3 is the usual one, 5 the most urgent.
    priority: SEVERITIES.indexOf(event.severity) + 2,
    timestamp: event.time,
    time: new Date(event.time * 1000).toISOString().replace('.000Z', 'Z'),
    type: event.type,
    hostname: event.node,
    fields,
  };
  return values[name] ?? '';
}
