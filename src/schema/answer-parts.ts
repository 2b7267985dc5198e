// What answers are made of, of the API and of the questions and operations of a datastore.
import { type TSchema, Type } from 'typebox';

export const Count = Type.Integer({ minimum: 0 });

export const OrNull = <Schema extends TSchema>(schema: Schema) => Type.Union([schema, Type.Null()]);

/** Bytes, or milliseconds; null where nobody knows, or the caller may not. */
export const CountOrNull = OrNull(Count);

export const TextOrNull = OrNull(Type.String());

/** As a question names it, and an answer. */
export const SnapshotNameAnswer = Type.Object({ ns: Type.String(), group: Type.String(), time: Type.Integer() });
