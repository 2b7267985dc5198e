// What clients ask of sessions, checked before anything is done with it.
import { type Static, type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { ClientPart } from '../../schema/manifest.ts';
import {
  archiveKind,
  type GroupName,
  MAX_TIME,
  type Namespace,
  parseGroup,
  parseNamespace,
} from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { hasShape } from '../../util/schema-check.ts';

const Group = {
  ns: Type.Optional(Type.String({ maxLength: 256 })),
  'backup-type': Type.String({ maxLength: 16 }),
  'backup-id': Type.String({ maxLength: 128 }),
};
const Time = Type.Integer({ minimum: 0, maximum: MAX_TIME });

const OpenBackup = Type.Object({
  kind: Type.Literal('backup'),
  ...Group,
  fingerprint: Type.Optional(Type.String({ pattern: '^[0-9a-f]{64}$' })),
});
const OpenRead = Type.Object({
  kind: Type.Literal('read'),
  ...Group,
  'backup-times': Type.Array(Time, { minItems: 1, maxItems: 16 }),
});
const Commit = Type.Object({ client: ClientPart, time: Type.Optional(Time) });

/** A manifest is read whole, by everybody who lists snapshots. */
const MAX_CLIENT_PART_BYTES = 1024 * 1024;

export type CommitRequest = Static<typeof Commit>;

export type OpenRequest = { readonly ns: Namespace; readonly group: GroupName } & (
  | { readonly kind: 'backup'; readonly fingerprint: string | undefined }
  | { readonly kind: 'read'; readonly times: readonly number[] }
);

/** @throws `bad-argument`, `bad-name`. */
export function parseOpen(body: unknown): OpenRequest {
  const kind = (body as { kind?: unknown } | null)?.kind;
  if (kind !== 'backup' && kind !== 'read') throw new HoldfastError('bad-argument', 'kind is backup or read');
  const asked = kind === 'backup' ? checked(OpenBackup, body) : checked(OpenRead, body);
  const ns = parseNamespace(asked.ns ?? '');
  const group = parseGroup(`${asked['backup-type']}/${asked['backup-id']}`);
  if (asked.kind === 'backup') return { kind: asked.kind, ns, group, fingerprint: asked.fingerprint };
  return { kind: asked.kind, ns, group, times: asked['backup-times'] };
}

/** @throws `bad-argument`, `bad-name`, `too-large`: also for a manifest that is not of `group`, or whose archives could not be told apart. */
export function parseCommit(body: unknown, group: GroupName): CommitRequest {
  const commit = checked(Commit, body);
  const { backup, archives } = commit.client;
  if (backup !== group)
    throw new HoldfastError('bad-argument', `the manifest is of ${backup}, its session of ${group}`);
  if (JSON.stringify(commit.client).length > MAX_CLIENT_PART_BYTES)
    throw new HoldfastError('too-large', `the manifest is over the limit of ${MAX_CLIENT_PART_BYTES} bytes`);
  const names = new Set<string>();
  for (const { name, kind } of archives) {
    const named = archiveKind(name);
    if (named !== (kind === 'stream' ? 'image' : kind))
      throw new HoldfastError('bad-argument', `archive ${name} is said to be of kind ${kind}, its name says ${named}`);
    if (names.has(name)) throw new HoldfastError('bad-argument', `archive ${name} is there twice`);
    names.add(name);
  }
  return commit;
}

function checked<Schema extends TSchema>(schema: Schema, body: unknown): Static<Schema> {
  if (hasShape(schema, body, Number.POSITIVE_INFINITY)) return body;
  const [first] = Value.Errors(schema, body);
  throw new HoldfastError('bad-argument', `member ${first?.instancePath || '/'} ${first?.message ?? 'is wrong'}`);
}
