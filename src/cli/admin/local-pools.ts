// Pools on the server's machine, as root@pam.
import type { PoolAdministration } from './pool-administration.ts';
import type { OpenState } from './server-state.ts';

export function localPools({ services: { pools }, actor }: Pick<OpenState, 'services' | 'actor'>): PoolAdministration {
  return {
    list: async () => pools.list(actor),
    get: async (poolid) => pools.get(actor, poolid),
    create: async (poolid, comment) => pools.create(actor, poolid, comment),
    change: async (poolid, change) => pools.change(actor, poolid, change),
    remove: async (poolid) => pools.delete(actor, poolid),
  };
}
