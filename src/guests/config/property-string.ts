// Property strings: `value,key=value,...`, the syntax of most values in Proxmox's configurations. What a format does not know is
// refused; what was read is held as normal text (booleans 0 or 1, sizes with the largest unit), so that printing it again is stable.
import { HoldfastError } from '../../util/errors.ts';
import { parseSize, printSize } from './size.ts';

export type PropertyRule =
  | { readonly kind: 'text'; readonly pattern?: RegExp; readonly grammar?: string }
  | { readonly kind: 'boolean' }
  | { readonly kind: 'integer'; readonly min?: number; readonly max?: number }
  | { readonly kind: 'number'; readonly min?: number; readonly max?: number }
  | { readonly kind: 'size' }
  | { readonly kind: 'enum'; readonly values: readonly string[] };

export interface PropertyFormat {
  readonly keys: Readonly<Record<string, PropertyRule>>;
  /** The key of a value that stands alone; it is printed first, alone. */
  readonly defaultKey?: string;
  /** Printed after the default key, and missing in none. */
  readonly required?: readonly string[];
  /** Other names of keys. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** `NAME=VALUE` for any of `names` means `nameKey=NAME,valueKey=VALUE`: network devices are written so. */
  readonly pair?: { readonly names: readonly string[]; readonly nameKey: string; readonly valueKey: string };
}

/** Key to normal text; only keys of the format, none empty. */
export type Properties = Readonly<Partial<Record<string, string>>>;

/** Reads a property string; `what` is the configuration's key in messages. @throws `bad-argument`. */
export function parseProperties(text: string, format: PropertyFormat, what: string): Properties {
  const found: Record<string, string> = {};
  const take = (key: string, value: string): void => {
    if (Object.hasOwn(found, key)) throw bad(what, `'${key}' is there twice`);
    found[key] = checkProperty(format, key, value, what);
  };
  for (const part of text.split(',')) {
    if (part === '') continue;
    const cut = part.indexOf('=');
    if (cut < 0) take(defaultKeyFor(format, part, what), part);
    else if (format.pair?.names.includes(part.slice(0, cut))) {
      take(format.pair.nameKey, part.slice(0, cut));
      take(format.pair.valueKey, part.slice(cut + 1));
    } else take(keyCalled(format, part.slice(0, cut), what), part.slice(cut + 1));
  }
  for (const key of format.required ?? []) if (!Object.hasOwn(found, key)) throw bad(what, `'${key}=' is missing`);
  return found;
}

/**
 * The canonical text: the default key's value, required keys, the rest by the alphabet.
 * @throws `bad-argument` for a key or value that reading it again would refuse.
 */
export function printProperties(values: Properties, format: PropertyFormat): string {
  const parts: string[] = [];
  const rest = new Set(
    Object.keys(values)
      .filter((key) => values[key] !== undefined)
      .sort(),
  );
  const checked = (key: string): string => {
    rest.delete(key);
    return checkProperty(format, keyCalled(format, key, 'value'), values[key] as string, key);
  };
  const { pair, defaultKey } = format;
  if (pair !== undefined && rest.has(pair.nameKey) && rest.has(pair.valueKey))
    parts.push(`${checked(pair.nameKey)}=${checked(pair.valueKey)}`);
  if (defaultKey !== undefined && rest.has(defaultKey)) {
    const value = checked(defaultKey);
    parts.push(value.includes('=') ? `${defaultKey}=${value}` : value);
  }
  for (const key of [...(format.required ?? []), ...rest]) if (rest.has(key)) parts.push(`${key}=${checked(key)}`);
  return parts.join(',');
}

/** `1` for 1, on, yes, true; `0` for their opposites; undefined for anything else. */
export function normalBoolean(text: string): '0' | '1' | undefined {
  if (/^(1|on|yes|true)$/i.test(text)) return '1';
  return /^(0|off|no|false)$/i.test(text) ? '0' : undefined;
}

/** What a value of this rule looks like, for messages and documents. */
export function ruleGrammar(rule: PropertyRule): string {
  switch (rule.kind) {
    case 'boolean':
      return '0 or 1';
    case 'integer':
    case 'number': {
      const name = rule.kind === 'integer' ? 'a whole number' : 'a number';
      if (rule.max !== undefined) return `${name} from ${rule.min ?? 0} to ${rule.max}`;
      return rule.min === undefined ? name : `${name}, at least ${rule.min}`;
    }
    case 'size':
      return 'a size such as 32G';
    case 'enum':
      return rule.values.join(', ');
    case 'text':
      return rule.grammar ?? 'text without commas';
  }
}

/** The normal text of one value, or undefined when the rule does not take it. */
export function normalValue(rule: PropertyRule, value: string): string | undefined {
  switch (rule.kind) {
    case 'boolean':
      return normalBoolean(value);
    case 'integer':
    case 'number': {
      const number = rule.kind === 'integer' ? /^-?\d{1,15}$/ : /^\d{1,15}(\.\d{1,15})?$/;
      if (!number.test(value)) return undefined;
      const within = Number(value) >= (rule.min ?? 0) && Number(value) <= (rule.max ?? Number.MAX_SAFE_INTEGER);
      if (!within) return undefined;
      return rule.kind === 'integer' ? String(Number(value)) : value;
    }
    case 'size':
      return normalSize(value);
    case 'enum':
      return rule.values.includes(value) ? value : undefined;
    case 'text':
      return rule.pattern === undefined || rule.pattern.test(value) ? value : undefined;
  }
}

function normalSize(value: string): string | undefined {
  try {
    return printSize(parseSize(value));
  } catch (error) {
    if (error instanceof HoldfastError) return undefined;
    throw error;
  }
}

function checkProperty(format: PropertyFormat, key: string, value: string, what: string): string {
  const rule = format.keys[key] as PropertyRule;
  const normal = value === '' || value.includes(',') ? undefined : normalValue(rule, value);
  if (normal !== undefined) return normal;
  throw bad(what, `'${value}' is no value for '${key}': it takes ${ruleGrammar(rule)}`);
}

function keyCalled(format: PropertyFormat, name: string, what: string): string {
  const key = format.aliases !== undefined && Object.hasOwn(format.aliases, name) ? format.aliases[name] : name;
  if (key !== undefined && Object.hasOwn(format.keys, key)) return key;
  throw bad(what, `'${name}' is no option; there are ${Object.keys(format.keys).sort().join(', ')}`);
}

function defaultKeyFor(format: PropertyFormat, value: string, what: string): string {
  if (format.defaultKey !== undefined) return format.defaultKey;
  throw bad(what, `'${value}' needs a name before it: write KEY=${value}`);
}

function bad(what: string, problem: string): HoldfastError {
  return new HoldfastError('bad-argument', `${what}: ${problem}`, { data: { key: what } });
}
