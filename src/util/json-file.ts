// JSON with a schema: parsed, checked, and refused with a message that says where it is wrong.
import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { HoldfastError } from './errors.ts';
import { hasShape } from './schema-check.ts';

export class JsonShapeError extends Error {}

/** Parses text and checks it. @throws JsonShapeError that names the first wrong member. */
export function parseJson<Schema extends TSchema>(text: string, schema: Schema): Static<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new JsonShapeError(`it is not JSON: ${(error as Error).message}`);
  }
  if (hasShape(schema, value, text.length)) return value;
  const [first] = Value.Errors(schema, value);
  throw new JsonShapeError(`member ${first?.instancePath || '/'} ${first?.message ?? 'is wrong'}`);
}

/** For what can be done without: undefined when it is not what it should be. */
export function parseIfSound<Schema extends TSchema>(text: string, schema: Schema): Static<Schema> | undefined {
  try {
    return parseJson(text, schema);
  } catch (error) {
    if (error instanceof JsonShapeError) return undefined;
    throw error;
  }
}

/**
 * Parses a file of the datastore's own state.
 * @throws HoldfastError `datastore-damaged` that names the file: guessing what it said could lose what it protects.
 */
export function parseStateFile<Schema extends TSchema>(path: string, text: string, schema: Schema): Static<Schema> {
  try {
    return parseJson(text, schema);
  } catch (error) {
    if (!(error instanceof JsonShapeError)) throw error;
    throw new HoldfastError('datastore-damaged', `${path} is damaged: ${error.message}; put a copy of it back`, {
      cause: error,
    });
  }
}
