// What jobs on a datastore have in common: their options, what they claim, how their tasks are called.
import { type TObject, Type } from 'typebox';
import { Value } from 'typebox/value';
import type { OpenDatastore } from '../../api/services.ts';
import type { GroupReader } from '../../datastore/snapshots/group-reader.ts';
import type { Job, JobOptions } from '../../jobs/schedule/job.ts';
import { MAX_NAMESPACE_DEPTH, type Namespace, namespaceDepth, parseNamespace } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';

export const StoreName = Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9._-]*$', minLength: 3, maxLength: 32 });
export const Ns = Type.Optional(
  Type.String({ pattern: '^([A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*){0,6})?$', maxLength: 256 }),
);
export const Depth = Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_NAMESPACE_DEPTH }));
export const strict = { additionalProperties: false } as const;

const Keep = Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 }));
export const KEEP_FIELDS = {
  ...{ 'keep-last': Keep, 'keep-hourly': Keep, 'keep-daily': Keep },
  ...{ 'keep-weekly': Keep, 'keep-monthly': Keep, 'keep-yearly': Keep },
};

export interface StoreKindParts {
  /** @throws `not-found`, `datastore-maintenance`. */
  readonly get: (name: string) => Promise<Pick<OpenDatastore, 'name' | 'store'>>;
}

/** The namespaces that a job is about. */
export async function namespacesOf(
  groups: Pick<GroupReader, 'namespaces'>,
  { ns: text, 'max-depth': depth = MAX_NAMESPACE_DEPTH }: { readonly ns?: string; readonly 'max-depth'?: number },
): Promise<Namespace[]> {
  const ns = parseNamespace(text ?? '');
  const all = await groups.namespaces(ns);
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

export function storeClaim({ store }: JobOptions): readonly string[] {
  return [`datastore:${String(store)}`];
}

/** `STORE:JOB`, or `STORE:NS:JOB`. */
export function workerId({ id, options }: Job): string {
  const { store, ns } = options;
  return ns === undefined || ns === '' ? `${String(store)}:${id}` : `${String(store)}:${String(ns)}:${id}`;
}
