// Prune jobs: of a namespace and those below it, all groups, some, or all but some that have rules of their own.
import { type Static, Type } from 'typebox';
import { pruneGroup } from '../../api/stores/store-work.ts';
import { givenCounts, isWithoutRules } from '../../datastore/prune/keep-rules.ts';
import type { GroupReader } from '../../datastore/snapshots/group-reader.ts';
import type { JobKind, JobOptions } from '../../jobs/schedule/job.ts';
import { type GroupName, type Namespace, parseGroup } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import {
  checker,
  Depth,
  KEEP_FIELDS,
  Ns,
  namespacesOf,
  type StoreKindParts,
  StoreName,
  storeClaim,
  strict,
  workerId,
} from './store-options.ts';

const MAX_GROUPS = 1000;
const Groups = Type.Optional(Type.Array(Type.String(), { minItems: 1, maxItems: MAX_GROUPS }));
const Options = Type.Object(
  {
    ...{ store: StoreName, ns: Ns, 'max-depth': Depth, groups: Groups, 'exclude-groups': Groups },
    ...KEEP_FIELDS,
  },
  strict,
);

export function pruneKind({ get }: StoreKindParts): JobKind {
  const check = checker(Options);
  return {
    name: 'prune',
    stage: 'prune',
    taskType: 'prunejob',
    check: (options) => {
      const checked = check(options) as Static<typeof Options>;
      const { groups = [], 'exclude-groups': excluded = [] } = checked;
      for (const group of [...groups, ...excluded]) parseGroup(group);
      if (groups.length > 0 && excluded.length > 0)
        throw new HoldfastError(
          'bad-argument',
          'a prune job has groups or exclude-groups, not both: take one away (job update --unset)',
        );
      return checked;
    },
    claims: storeClaim,
    workerId,
    run: async ({ job }, work) => {
      const open = await get(String(job.options.store));
      const counts = givenCounts(job.options);
      if (isWithoutRules(counts)) work.warn('no keep rule is set: everything stays');
      const { places, absent } = await pruneScope(open.store.groups, job.options);
      for (const group of absent) work.warn(`there is no group ${group}: nothing of it is pruned`);
      const sum = { removed: 0, stay: 0, groups: 0 };
      for (const { ns, groups } of places) {
        for (const group of groups) {
          work.signal.throwIfAborted();
          const { removed, snapshots } = await pruneGroup(open, ns, group, counts, work);
          sum.removed += removed;
          sum.stay += snapshots.length - removed;
          sum.groups++;
        }
      }
      work.log(`in all: ${sum.groups} groups, removed ${sum.removed} snapshots, ${sum.stay} stay`);
      return undefined;
    },
  };
}

export interface PruneScope {
  readonly places: readonly { readonly ns: Namespace; readonly groups: readonly GroupName[] }[];
  /** Groups of the job that are in none of its namespaces. */
  readonly absent: readonly string[];
}

/** What a prune job is about: with `groups` those alone, in each of its namespaces; with `exclude-groups` all but those. */
export async function pruneScope(
  reader: Pick<GroupReader, 'namespaces' | 'groups'>,
  options: JobOptions,
): Promise<PruneScope> {
  const { groups, 'exclude-groups': excluded = [], ...where } = options as Static<typeof Options>;
  const unwanted = new Set<string>(excluded);
  const wanted = groups === undefined ? undefined : new Set(groups);
  const found = new Set<string>();
  const places = [];
  for (const ns of await namespacesOf(reader, where)) {
    const here = (await reader.groups(ns)).filter((group) => wanted?.has(group) ?? !unwanted.has(group));
    for (const group of here) found.add(group);
    places.push({ ns, groups: here });
  }
  return { places, absent: [...(wanted ?? [])].filter((group) => !found.has(group)) };
}
