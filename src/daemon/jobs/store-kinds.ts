// Jobs on the server's datastores: prune, verify, gc. They do what the calls of the API do, by the same code.
import { type Static, type TObject, Type } from 'typebox';
import { Value } from 'typebox/value';
import type { OpenDatastore } from '../../api/services.ts';
import { GC_TASK } from '../../api/stores/gc-status.ts';
import { collectAll, provedSince, pruneGroup, verifyAll } from '../../api/stores/store-work.ts';
import { isWithoutRules, KEEP_RULES, type KeepCounts } from '../../datastore/prune/keep-rules.ts';
import type { Job, JobKind, JobOptions } from '../../jobs/schedule/job.ts';
import { MAX_NAMESPACE_DEPTH, type Namespace, namespaceDepth, parseNamespace } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';

const StoreName = Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9._-]*$', minLength: 3, maxLength: 32 });
const Ns = Type.Optional(
  Type.String({ pattern: '^([A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*){0,6})?$', maxLength: 256 }),
);
const Depth = Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_NAMESPACE_DEPTH }));
const Keep = Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 }));
const strict = { additionalProperties: false } as const;

export const KEEP_FIELDS = {
  ...{ 'keep-last': Keep, 'keep-hourly': Keep, 'keep-daily': Keep },
  ...{ 'keep-weekly': Keep, 'keep-monthly': Keep, 'keep-yearly': Keep },
};
const PruneOptions = Type.Object({ store: StoreName, ns: Ns, 'max-depth': Depth, ...KEEP_FIELDS }, strict);
const VerifyOptions = Type.Object(
  {
    ...{ store: StoreName, ns: Ns, 'max-depth': Depth, 'ignore-verified': Type.Optional(Type.Boolean()) },
    'outdated-after': Type.Optional(Type.Integer({ minimum: 0, maximum: 100_000 })),
  },
  strict,
);
const GcOptions = Type.Object({ store: StoreName }, strict);

export interface StoreKindParts {
  /** @throws `not-found`, `datastore-maintenance`. */
  readonly get: (name: string) => Promise<Pick<OpenDatastore, 'name' | 'store'>>;
}

/** Prune, gc and verify jobs, with worker types and ids as Proxmox Backup Server has them. */
export function storeKinds({ get }: StoreKindParts): JobKind[] {
  return [
    {
      name: 'prune',
      stage: 'prune',
      taskType: 'prunejob',
      check: checker(PruneOptions),
      claims: storeClaim,
      workerId,
      run: async ({ job }, work) => {
        const options = job.options as Static<typeof PruneOptions>;
        const open = await get(options.store);
        const counts = keepCounts(options);
        if (isWithoutRules(counts)) work.warn('no keep rule is set: everything stays');
        for (const ns of await namespacesOf(open, options)) {
          for (const group of await open.store.groups.groups(ns)) {
            work.signal.throwIfAborted();
            await pruneGroup(open, ns, group, counts, work);
          }
        }
        return undefined;
      },
    },
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
        for (const ns of await namespacesOf(open, options))
          for (const group of await open.store.groups.groups(ns))
            for (const time of await open.store.groups.times(ns, group)) snapshots.push({ ns, group, time });
        await verifyAll(open.store, snapshots, since, work);
        return undefined;
      },
    },
  ];
}

async function namespacesOf(
  { store }: Pick<OpenDatastore, 'store'>,
  { ns: text, 'max-depth': depth = MAX_NAMESPACE_DEPTH }: { readonly ns?: string; readonly 'max-depth'?: number },
): Promise<Namespace[]> {
  const ns = parseNamespace(text ?? '');
  const all = await store.groups.namespaces(ns);
  return all.filter((each) => namespaceDepth(each) - namespaceDepth(ns) <= depth);
}

/** Options as a schema has them. @throws `bad-argument` that names the first that is wrong, `bad-name` for no namespace. */
export function checker<Schema extends TObject>(schema: Schema): (options: unknown) => JobOptions {
  return (options) => {
    if (Value.Check(schema, options)) {
      const checked = options as JobOptions;
      if (typeof checked.ns === 'string') parseNamespace(checked.ns);
      return checked;
    }
    const [first] = Value.Errors(schema, options);
    const name = first?.instancePath.slice(1) || 'the options';
    throw new HoldfastError('bad-argument', `${name} of the job: ${first?.message ?? 'is wrong'}`, {
      data: { option: name },
    });
  };
}

/** The keep rules among the options of a job. */
export function keepCounts(options: KeepCounts): KeepCounts {
  return Object.fromEntries(KEEP_RULES.flatMap((rule) => (options[rule] === undefined ? [] : [[rule, options[rule]]])));
}

export function storeClaim({ store }: JobOptions): readonly string[] {
  return [`datastore:${String(store)}`];
}

/** `STORE:JOB`, or `STORE:NS:JOB`. */
export function workerId({ id, options }: Job): string {
  const { store, ns } = options;
  return ns === undefined || ns === '' ? `${String(store)}:${id}` : `${String(store)}:${String(ns)}:${id}`;
}
