// One parameter: from what came over the wire (text, repeated text, or a JSON value) to the value that its schema wants, or the reason why not.
import type { TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { hasShape } from '../../util/schema-check.ts';

export type Read = { readonly value: unknown } | { readonly reason: string };

/** Why a parameter is refused, in the words that the clients of a dialect know. */
export interface ParameterWords {
  readonly missing: string;
  readonly unknown: string;
  readonly differs: string;
  readonly repeated: string;
  readonly noInteger: (given: unknown) => string;
  readonly tooLargeInteger: string;
  /** A value of another kind than the schema's `type`. */
  readonly wrongType: (type: string, given: unknown) => string;
  readonly tooLong: (limit: number) => string;
  readonly tooShort: (limit: number) => string;
  readonly pattern: string;
  readonly minimum: (limit: number, value: unknown) => string;
  readonly maximum: (limit: number, value: unknown) => string;
  readonly choice: (value: unknown, choices: readonly unknown[]) => string;
}

export interface ParameterReading {
  /** Numbers, booleans and lists of JSON are taken where a text is wanted, for clients that send them so. */
  readonly isLenient: boolean;
  readonly words: ParameterWords;
}

export const BACKUP_READING: ParameterReading = {
  isLenient: false,
  words: {
    missing: 'parameter is missing and it is not optional.',
    unknown: 'schema does not allow additional properties.',
    differs: 'differs from the one in the path.',
    repeated: 'parameter is given more than once.',
    noInteger: () => 'invalid digit found in string',
    tooLargeInteger: 'number too large to fit in target type',
    wrongType: (type) => (type === 'boolean' ? 'Unable to parse boolean option.' : `Expected ${type} value.`),
    tooLong: (limit) => `value may only be ${limit} characters long`,
    tooShort: (limit) => `value must be at least ${limit} characters long`,
    pattern: 'value does not match the regex pattern',
    minimum: (limit, value) => `value must have a minimum value of ${limit} (got ${value})`,
    maximum: (limit, value) => `value must have a maximum value of ${limit} (got ${value})`,
    choice: (value) => `value '${value}' is not defined in the enumeration.`,
  },
};

interface SchemaParts {
  readonly type?: string;
  readonly items?: TSchema;
  readonly enum?: readonly unknown[];
}

const TRUE = /^(1|on|yes|true)$/i;
const FALSE = /^(0|off|no|false)$/i;
const NUMBER = /^[+-]?\d{1,20}(\.\d{1,20})?$/;

/** `given` has one member for each time that the parameter was given. */
export function readParameter(reading: ParameterReading, schema: TSchema, given: readonly unknown[]): Read {
  const { type, items } = schema as SchemaParts;
  if (type === 'array') return readArray(reading, schema, items as TSchema, given);
  if (reading.isLenient && type === 'string') return checked(reading, schema, textOf(given));
  if (given.length > 1) return { reason: reading.words.repeated };
  const read = readScalar(reading, type, given[0]);
  return 'reason' in read ? read : checked(reading, schema, read.value);
}

/** Lists become one text with commas, booleans 0 and 1. */
function textOf(given: readonly unknown[]): unknown {
  const parts = given.flat();
  if (parts.some((part) => typeof part === 'object')) return parts;
  return parts.map((part) => String(typeof part === 'boolean' ? Number(part) : part)).join(',');
}

function readArray(reading: ParameterReading, schema: TSchema, items: TSchema, given: readonly unknown[]): Read {
  const values: unknown[] = [];
  const isChoice = (items as SchemaParts).enum !== undefined;
  for (const each of given.flat()) {
    // A list of choices may come as one text: `comment,email`.
    const parts = isChoice && typeof each === 'string' ? each.split(/[,;\s\0]+/).filter((part) => part !== '') : [each];
    for (const part of parts) {
      const read = readParameter(reading, items, [part]);
      if ('reason' in read) return read;
      values.push(read.value);
    }
  }
  return checked(reading, schema, values);
}

function readScalar({ words }: ParameterReading, type: string | undefined, given: unknown): Read {
  if (type === 'boolean') return readBoolean(words, given);
  if (type === 'integer') return readInteger(words, given);
  if (type === 'number') {
    const isNumber = typeof given === 'number' || (typeof given === 'string' && NUMBER.test(given));
    return isNumber ? { value: Number(given) } : { reason: words.wrongType(type, given) };
  }
  if (type === 'object') {
    const isObject = typeof given === 'object' && given !== null && !Array.isArray(given);
    return isObject ? { value: given } : { reason: words.wrongType(type, given) };
  }
  return typeof given === 'string' ? { value: given } : { reason: words.wrongType('string', given) };
}

function readBoolean(words: ParameterWords, given: unknown): Read {
  if (typeof given === 'boolean') return { value: given };
  const text = String(given);
  if (TRUE.test(text)) return { value: true };
  return FALSE.test(text) ? { value: false } : { reason: words.wrongType('boolean', given) };
}

function readInteger(words: ParameterWords, given: unknown): Read {
  if (typeof given !== 'number' && typeof given !== 'string') return { reason: words.wrongType('integer', given) };
  const value = typeof given === 'number' || /^[+-]?\d{1,20}$/.test(given) ? Number(given) : Number.NaN;
  if (!Number.isInteger(value)) return { reason: words.noInteger(given) };
  return Number.isSafeInteger(value) ? { value } : { reason: words.tooLargeInteger };
}

function checked({ words }: ParameterReading, schema: TSchema, value: unknown): Read {
  // The manifest of a commit may have megabytes; a text or a number costs nothing.
  if (hasShape(schema, value, typeof value === 'object' ? Number.POSITIVE_INFINITY : 0)) return { value };
  const found = Value.Errors(schema, value);
  // Lengths first: a pattern says little of a text that is too long.
  const first = found.find(({ keyword }) => keyword === 'maxLength' || keyword === 'minLength') ?? found[0];
  const at = first?.instancePath ? ` (${first.instancePath})` : '';
  return { reason: `${reasonOf(words, first, schema, value)}${at}` };
}

function reasonOf(
  words: ParameterWords,
  error: { readonly keyword: string; readonly params: object; readonly message: string } | undefined,
  schema: TSchema,
  value: unknown,
): string {
  const { limit = 0 } = (error?.params ?? {}) as { limit?: number };
  const { enum: choices } = schema as SchemaParts;
  switch (error?.keyword) {
    case 'maxLength':
      return words.tooLong(limit);
    case 'minLength':
      return words.tooShort(limit);
    case 'pattern':
    case 'format':
      return words.pattern;
    case 'minimum':
      return words.minimum(limit, value);
    case 'maximum':
      return words.maximum(limit, value);
    default:
      if (choices !== undefined) return words.choice(value, choices);
      return error?.message ?? 'value is wrong';
  }
}
