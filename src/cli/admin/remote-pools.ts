// Pools through a server's API, with the rights of the user or token of the address.
import { type Static, Type } from 'typebox';
import type { Pool } from '../../auth/pool-store.ts';
import { type PoolId, parsePoolId } from '../../schema/pool-id.ts';
import type { CommonOptions } from '../repository.ts';
import type { PoolAdministration } from './pool-administration.ts';
import { openLine } from './server-line.ts';

const PATH = '/config/pool';
const LIST_PATIENCE_MS = 20_000;

const Row = Type.Object({
  poolid: Type.String(),
  comment: Type.String(),
  vms: Type.Array(Type.Integer()),
  storage: Type.Array(Type.String()),
});

/** Opens no connection yet. @throws `bad-argument` for a wrong address, or without a secret. */
export async function remotePools(
  options: CommonOptions,
  repository: string,
  signal: AbortSignal,
): Promise<PoolAdministration & { close(): Promise<void> }> {
  const { line } = await openLine(options, repository);
  const reading = { signal, patienceMs: LIST_PATIENCE_MS };
  const changing = { signal, patienceMs: 0 };
  const change = async (method: 'POST' | 'PUT' | 'DELETE', body: Record<string, unknown>): Promise<void> => {
    parsePoolId(body.poolid as string);
    await line.call(method, PATH, body, Type.Null(), changing);
  };
  return {
    list: async () => (await line.call('GET', PATH, undefined, Type.Array(Row), reading)).map(poolOf),
    get: async (poolid) => {
      const path = `${PATH}?${new URLSearchParams({ poolid: parsePoolId(poolid) }).toString()}`;
      const one = Type.Array(Row, { minItems: 1, maxItems: 1 });
      return poolOf((await line.call('GET', path, undefined, one, reading))[0] as Static<typeof Row>);
    },
    create: async (poolid, comment) => await change('POST', { poolid, ...(comment !== undefined && { comment }) }),
    change: async (poolid, { storages, allowMove, ...same }) =>
      await change('PUT', { poolid, ...same, storage: storages, 'allow-move': allowMove }),
    remove: async (poolid) => await change('DELETE', { poolid }),
    close: async () => await line.close(),
  };
}

function poolOf({ poolid, comment, vms, storage }: Static<typeof Row>): Pool {
  return { poolid: poolid as PoolId, comment, vms, storages: storage };
}
