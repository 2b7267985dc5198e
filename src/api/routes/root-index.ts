// GET /api2/json: what there is below the root.
import { Type } from 'typebox';
import { type AnyMethod, defineMethod } from '../method.ts';

export function rootIndex(methods: readonly AnyMethod[]): AnyMethod {
  const names = [...new Set(methods.map(({ path }) => path.split('/')[1] as string))].sort();
  return defineMethod({
    method: 'GET',
    path: '',
    description: 'The names below the root of the API.',
    access: { auth: true },
    parameters: Type.Object({}),
    returns: Type.Array(Type.Object({ subdir: Type.String() })),
    handler: () => names.map((subdir) => ({ subdir })),
  });
}
