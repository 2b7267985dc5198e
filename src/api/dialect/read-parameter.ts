// One parameter: from what came over the wire (text, repeated text, or a JSON value) to the value that its schema wants, or the reason why not.
import type { TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { hasShape } from '../../util/schema-check.ts';

export type Read = { readonly value: unknown } | { readonly reason: string };

interface SchemaParts {
  readonly type?: string;
  readonly items?: TSchema;
  readonly enum?: readonly unknown[];
}

const TRUE = /^(1|on|yes|true)$/i;
const FALSE = /^(0|off|no|false)$/i;

/** `given` has one member for each time that the parameter was given. */
export function readParameter(schema: TSchema, given: readonly unknown[]): Read {
  const { type, items } = schema as SchemaParts;
  if (type === 'array') return readArray(schema, items as TSchema, given);
  if (given.length > 1) return { reason: 'parameter is given more than once.' };
  const read = readScalar(type, given[0]);
  return 'reason' in read ? read : checked(schema, read.value);
}

function readArray(schema: TSchema, items: TSchema, given: readonly unknown[]): Read {
  const values: unknown[] = [];
  const isChoice = (items as SchemaParts).enum !== undefined;
  for (const each of given.flat()) {
    // A list of choices may come as one text: `comment,email`.
    const parts = isChoice && typeof each === 'string' ? each.split(/[,;\s\0]+/).filter((part) => part !== '') : [each];
    for (const part of parts) {
      const read = readParameter(items, [part]);
      if ('reason' in read) return read;
      values.push(read.value);
    }
  }
  return checked(schema, values);
}

function readScalar(type: string | undefined, given: unknown): Read {
  if (type === 'boolean') return readBoolean(given);
  if (type === 'integer') return readInteger(given);
  if (type === 'object') {
    const isObject = typeof given === 'object' && given !== null && !Array.isArray(given);
    return isObject ? { value: given } : { reason: 'Expected object value.' };
  }
  return typeof given === 'string' ? { value: given } : { reason: 'Expected string value.' };
}

function readBoolean(given: unknown): Read {
  if (typeof given === 'boolean') return { value: given };
  const text = String(given);
  if (TRUE.test(text)) return { value: true };
  return FALSE.test(text) ? { value: false } : { reason: 'Unable to parse boolean option.' };
}

function readInteger(given: unknown): Read {
  if (typeof given !== 'number' && typeof given !== 'string') return { reason: 'Expected integer value.' };
  const value = typeof given === 'number' || /^[+-]?\d{1,20}$/.test(given) ? Number(given) : Number.NaN;
  if (!Number.isInteger(value)) return { reason: 'invalid digit found in string' };
  return Number.isSafeInteger(value) ? { value } : { reason: 'number too large to fit in target type' };
}

function checked(schema: TSchema, value: unknown): Read {
  // The manifest of a commit may have megabytes; a text or a number costs nothing.
  if (hasShape(schema, value, typeof value === 'object' ? Number.POSITIVE_INFINITY : 0)) return { value };
  const found = Value.Errors(schema, value);
  // Lengths first: a pattern says little of a text that is too long.
  const first = found.find(({ keyword }) => keyword === 'maxLength' || keyword === 'minLength') ?? found[0];
  const at = first?.instancePath ? ` (${first.instancePath})` : '';
  return { reason: `${reasonOf(first, schema, value)}${at}` };
}

function reasonOf(
  error: { readonly keyword: string; readonly params: object; readonly message: string } | undefined,
  schema: TSchema,
  value: unknown,
): string {
  const { limit } = (error?.params ?? {}) as { limit?: number };
  switch (error?.keyword) {
    case 'maxLength':
      return `value may only be ${limit} characters long`;
    case 'minLength':
      return `value must be at least ${limit} characters long`;
    case 'pattern':
    case 'format':
      return 'value does not match the regex pattern';
    case 'minimum':
      return `value must have a minimum value of ${limit} (got ${value})`;
    case 'maximum':
      return `value must have a maximum value of ${limit} (got ${value})`;
    default:
      if ((schema as SchemaParts).enum !== undefined) return `value '${value}' is not defined in the enumeration.`;
      return error?.message ?? 'value is wrong';
  }
}
