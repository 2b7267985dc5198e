// What a client needs to know of a datastore before it works with it.
import { Type } from 'typebox';
import type { Query } from './control/query.ts';

export interface StoreDescription {
  readonly storeId: string;
  /** Average bytes of chunks: a client that cuts otherwise shares nothing with others. */
  readonly averageBytes: number;
}

export const describeStore: Query<Record<string, never>, StoreDescription> = {
  name: 'describe',
  answer: Type.Object({ storeId: Type.String(), averageBytes: Type.Integer({ minimum: 1 }) }),
  run: async ({ config }) => ({ storeId: config.store, averageBytes: config.chunk.averageBytes }),
};
