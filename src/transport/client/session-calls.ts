// The JSON calls around sessions, as docs/protocol.md has them.
import { type Static, Type } from 'typebox';
import { Manifest } from '../../schema/manifest.ts';
import type { ApiLine, CallOptions } from './api-line.ts';

const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Limit = Type.Integer({ minimum: 1, maximum: 2 ** 31 });

const Base = Type.Object({
  name: Type.String({ maxLength: 512 }),
  sequence: Count,
  manifest: Manifest,
  damaged: Type.Array(Type.Object({ archive: Type.String(), offset: Count, length: Count })),
});

export const OpenAnswer = Type.Object({
  // Both become parts of requests: nothing but what may stand there.
  session: Type.String({ pattern: '^[0-9a-f]{32}$' }),
  token: Type.String({ pattern: '^[!-~]{1,1024}$' }),
  'bulk-port': Type.Integer({ minimum: 1, maximum: 65_535 }),
  'server-start': Type.Union([Type.String(), Type.Number()]),
  'store-id': Type.String({ maxLength: 128 }),
  space: Count,
  limits: Type.Object({
    'have-ids': Limit,
    'get-ids': Limit,
    'put-bytes': Limit,
    'record-bytes': Limit,
    'idle-seconds': Limit,
  }),
  'average-bytes': Type.Optional(Count),
  bases: Type.Optional(Type.Array(Base, { maxItems: 16 })),
  'adopted-objects': Type.Optional(Count),
  'scope-is-empty': Type.Optional(Type.Boolean()),
  manifests: Type.Optional(Type.Array(Manifest, { maxItems: 16 })),
});
export type OpenAnswer = Static<typeof OpenAnswer>;

const CommitAnswer = Type.Object({ manifest: Manifest, warnings: Type.Array(Type.String()) });
export type CommitAnswer = Static<typeof CommitAnswer>;

/** The server may sync gigabytes before it answers. */
const COMMIT_TIMEOUT_MS = 15 * 60_000;
/** Whoever ends a session does not wait for a server that is gone. */
const END_TIMEOUT_MS = 5000;

/** What a session is opened with, less what is of its kind. */
export interface GroupPlace {
  readonly ns: string;
  /** `TYPE/ID`. */
  readonly group: string;
}

export class SessionCalls {
  readonly #api: ApiLine;
  readonly #store: string;

  constructor(api: ApiLine, store: string) {
    this.#api = api;
    this.#store = store;
  }

  openBackup(place: GroupPlace, fingerprint: string | undefined, options: CallOptions): Promise<OpenAnswer> {
    const key = fingerprint === undefined ? {} : { fingerprint };
    return this.#open({ kind: 'backup', ...groupFields(place), ...key }, options);
  }

  openRead(place: GroupPlace, times: readonly number[], options: CallOptions): Promise<OpenAnswer> {
    return this.#open({ kind: 'read', ...groupFields(place), 'backup-times': times }, options);
  }

  commit(session: string, client: object, time: number | undefined, options: CallOptions): Promise<CommitAnswer> {
    const body = time === undefined ? { client } : { client, time };
    return this.#api.call('POST', `${this.#path}/${session}/commit`, body, CommitAnswer, {
      ...options,
      timeoutMs: COMMIT_TIMEOUT_MS,
    });
  }

  /** A sign of life. */
  async touch(session: string, signal: AbortSignal): Promise<void> {
    await this.#api.call('GET', `${this.#path}/${session}`, undefined, Type.Unknown(), { signal, patienceMs: 0 });
  }

  /** Ends a session without a snapshot. */
  async end(session: string): Promise<void> {
    const options = { signal: new AbortController().signal, timeoutMs: END_TIMEOUT_MS, patienceMs: 0 };
    await this.#api.call('DELETE', `${this.#path}/${session}`, undefined, Type.Unknown(), options);
  }

  get #path(): string {
    return `/admin/datastore/${this.#store}/sessions`;
  }

  #open(body: Record<string, unknown>, options: CallOptions): Promise<OpenAnswer> {
    return this.#api.call('POST', this.#path, body, OpenAnswer, options);
  }
}

function groupFields({ ns, group }: GroupPlace) {
  const [type = '', id = ''] = group.split('/');
  return { ...(ns !== '' && { ns }), 'backup-type': type, 'backup-id': id };
}
