// Rules for the values of single keys: what is taken, how it is stored, and the words that a message says of it.
import { HoldfastError } from '../../util/errors.ts';
import {
  normalValue,
  type PropertyFormat,
  type PropertyRule,
  parseProperties,
  ruleGrammar,
} from './property-string.ts';

export interface SettingRule {
  readonly kind: 'boolean' | 'integer' | 'number' | 'enum' | 'text' | 'properties' | 'list' | 'drive' | 'net';
  /** What a value looks like. */
  readonly grammar: string;
  /** The value as it is stored. @throws `bad-argument`. */
  readonly check: (value: string, key: string) => string;
}

export const flag: SettingRule = ofRule({ kind: 'boolean' });

export function integer(min: number, max?: number): SettingRule {
  return ofRule({ kind: 'integer', min, ...(max === undefined ? {} : { max }) });
}

export function decimal(max?: number): SettingRule {
  return ofRule({ kind: 'number', min: 0, ...(max === undefined ? {} : { max }) });
}

export function oneOf(...values: string[]): SettingRule {
  return ofRule({ kind: 'enum', values });
}

export function text(grammar: string, pattern: RegExp): SettingRule {
  return ofRule({ kind: 'text', grammar, pattern });
}

/** Anything without line breaks. */
export function anyText(grammar: string): SettingRule {
  return { kind: 'text', grammar, check: (value) => value };
}

/** Checked, and stored as it was sent: clients compare what they read with what they sent. */
export function properties(format: PropertyFormat): SettingRule {
  const { defaultKey, keys } = format;
  const names = Object.keys(keys).sort();
  const options = names.map((key) => (key === defaultKey ? `[${key}=]...` : `${key}=...`));
  return checked('properties', options.join(','), (value, key) => parseProperties(value, format, key));
}

/** A value that `read` takes; stored as it was sent. */
export function checked(
  kind: SettingRule['kind'],
  grammar: string,
  read: (value: string, key: string) => unknown,
): SettingRule {
  return {
    kind,
    grammar,
    check: (value, key) => {
      read(value, key);
      return value;
    },
  };
}

function ofRule(rule: Exclude<PropertyRule, { kind: 'size' }>): SettingRule {
  const grammar = ruleGrammar(rule);
  return {
    kind: rule.kind,
    grammar,
    check: (value, key) => {
      const normal = normalValue(rule, value);
      if (normal !== undefined) return normal;
      throw new HoldfastError('bad-argument', `${key}: '${value}' is no value for it; it takes ${grammar}`, {
        data: { key },
      });
    },
  };
}
