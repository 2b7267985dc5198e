// The parameters of a call from its path, its query and its body, in one: what stands where does not matter, but what stands twice and
// differs is refused.
import type { TObject, TSchema } from 'typebox';
import { ApiError, ParameterError } from './failure.ts';
import { type ParameterReading, readParameter } from './read-parameter.ts';

/** More of them is no call of any method. */
const MAX_GIVEN = 1000;

/** Name -> what was given, once for each time. */
export type Given = Map<string, unknown[]>;

export function givenInQuery(query: string): Given {
  const given: Given = new Map();
  for (const [name, value] of new URLSearchParams(query)) add(given, name, value);
  return given;
}

/**
 * The parameters of a body: a form, also when nothing says what it is, or a JSON object.
 * @throws ApiError 400.
 */
export function givenInBody(contentType: string | undefined, body: Buffer | undefined): Given {
  const kind = contentType?.split(';')[0]?.trim().toLowerCase() ?? '';
  if (kind !== '' && kind !== 'application/x-www-form-urlencoded' && kind !== 'application/json') {
    throw new ApiError(400, 'bad-argument', `unsupported content type Ok(${JSON.stringify(contentType)})`);
  }
  if (body === undefined || body.length === 0) return new Map();
  const text = body.toString('utf8');
  if (kind !== 'application/json') return givenInQuery(text);
  return givenInJson(text);
}

function givenInJson(text: string): Given {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ApiError(400, 'bad-argument', `the body is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ApiError(400, 'bad-argument', 'the body is not a JSON object of parameters');
  }
  const given: Given = new Map();
  for (const [name, each] of Object.entries(value)) if (each !== null) add(given, name, each);
  return given;
}

function add(given: Given, name: string, value: unknown): void {
  if (name === '_dc') return;
  if (given.size >= MAX_GIVEN) throw new ApiError(400, 'too-many', `more than ${MAX_GIVEN} parameters`);
  const before = given.get(name);
  if (before === undefined) given.set(name, [value]);
  else before.push(value);
}

/**
 * The values that a method's schema wants. Missing ones take the schema's default.
 * @throws ParameterError with a reason for each that is wrong, missing or unknown.
 */
export function readParameters(
  reading: ParameterReading,
  schema: TObject,
  path: ReadonlyMap<string, string>,
  given: readonly Given[],
): Record<string, unknown> {
  const errors: [string, string][] = [];
  const { words } = reading;
  const all = merged(words, path, given, errors);
  const properties = schema.properties as Readonly<Record<string, TSchema>>;
  const values: Record<string, unknown> = {};
  for (const [name, property] of Object.entries(properties)) {
    const each = all.get(name);
    if (each === undefined) {
      const { default: otherwise } = property as { default?: unknown };
      if (otherwise !== undefined) values[name] = otherwise;
      else if (schema.required?.includes(name)) errors.push([name, words.missing]);
      continue;
    }
    const read = readParameter(reading, property, each);
    if ('reason' in read) errors.push([name, read.reason]);
    else if (isRespelt(read.value, path.get(name))) errors.push([name, words.noInteger(path.get(name))]);
    else values[name] = read.value;
  }
  for (const name of all.keys()) {
    if (!Object.hasOwn(properties, name)) errors.push([shown(name), words.unknown]);
  }
  if (errors.length > 0) throw new ParameterError(errors);
  return values;
}

/** `0100` in a path: rights were asked on what stands there, and would be those of another thing than 100. */
function isRespelt(value: unknown, inPath: string | undefined): boolean {
  return inPath !== undefined && typeof value === 'number' && String(value) !== inPath;
}

function merged(
  words: ParameterReading['words'],
  path: ReadonlyMap<string, string>,
  given: readonly Given[],
  errors: [string, string][],
): Given {
  const all: Given = new Map();
  for (const source of given) {
    // The same in query and body is one: clients that resend a form do both.
    for (const [name, values] of source) all.set(name, values);
  }
  for (const [name, value] of path) {
    const others = all.get(name) ?? [];
    if (others.some((other) => String(other) !== value)) errors.push([name, words.differs]);
    all.set(name, [value]);
  }
  return all;
}

/** A name of the caller's, fit to be shown. */
function shown(name: string): string {
  return name.slice(0, 64).replace(/\p{C}/gu, '?');
}
