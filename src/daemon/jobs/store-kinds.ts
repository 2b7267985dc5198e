// Jobs on the server's datastores: prune, verify, gc. They do what the calls of the API do, by the same code.
import { type Static, Type } from 'typebox';
import { GC_TASK } from '../../api/stores/gc-status.ts';
import { collectAll, provedSince, verifyAll } from '../../api/stores/store-work.ts';
import type { JobKind } from '../../jobs/schedule/job.ts';
import { MAX_NAMESPACE_DEPTH } from '../../schema/names.ts';
import { pruneKind } from './prune-kind.ts';
import {
  checker,
  Depth,
  Ns,
  namespacesOf,
  type StoreKindParts,
  StoreName,
  storeClaim,
  strict,
  workerId,
} from './store-options.ts';

const VerifyOptions = Type.Object(
  {
    ...{ store: StoreName, ns: Ns, 'max-depth': Depth, 'ignore-verified': Type.Optional(Type.Boolean()) },
    'outdated-after': Type.Optional(Type.Integer({ minimum: 0, maximum: 100_000 })),
  },
  strict,
);
const GcOptions = Type.Object({ store: StoreName }, strict);

/** Prune, gc and verify jobs, with worker types and ids as Proxmox Backup Server has them. */
export function storeKinds(parts: StoreKindParts): JobKind[] {
  const { get } = parts;
  return [
    pruneKind(parts),
    {
      name: 'gc',
      stage: 'gc',
      taskType: GC_TASK,
      check: checker(GcOptions),
      claims: storeClaim,
      workerId: ({ options }) => String(options.store),
      run: async ({ job }, work) => {
        const open = await get(String(job.options.store));
        return { result: await collectAll(open, work), warnings: [] };
      },
    },
    {
      name: 'verify',
      stage: 'verify',
      taskType: 'verificationjob',
      check: checker(VerifyOptions),
      claims: storeClaim,
      workerId,
      run: async ({ job, nowMs }, work) => {
        const options = job.options as Static<typeof VerifyOptions>;
        const open = await get(options.store);
        const since = provedSince(nowMs, options['ignore-verified'] ?? true, options['outdated-after']);
        const isWhole =
          (options.ns ?? '') === '' && (options['max-depth'] ?? MAX_NAMESPACE_DEPTH) === MAX_NAMESPACE_DEPTH;
        if (isWhole) {
          await verifyAll(open.store, null, since, work);
          return undefined;
        }
        const snapshots = [];
        for (const ns of await namespacesOf(open.store.groups, options))
          for (const group of await open.store.groups.groups(ns))
            for (const time of await open.store.groups.times(ns, group)) snapshots.push({ ns, group, time });
        await verifyAll(open.store, snapshots, since, work);
        return undefined;
      },
    },
  ];
}
