// What a client remembers of its last encrypted snapshot of each group, so that nobody can pass off an older one for the latest. A file
// for each group and key, replaced as a whole: two clients at once disturb each other in nothing.
import { chmod, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { shortHash } from '../../chunker/object-id.ts';
import type { Manifest } from '../../schema/manifest.ts';
import { formatTime } from '../../schema/names.ts';
import { readIfPresent } from '../../util/atomic-file.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import { HoldfastError } from '../../util/errors.ts';
import { JsonShapeError, parseJson } from '../../util/json-file.ts';
import { replacePrivateFile } from './private-file.ts';

/** A group in a namespace of a datastore, and the key of its snapshots. */
export interface RememberedGroup {
  readonly store: string;
  readonly ns: string;
  readonly group: string;
  readonly key: string;
}

const Remembered = Type.Object({
  format: Type.Literal(1),
  store: Type.String(),
  ns: Type.String(),
  group: Type.String(),
  key: Type.String(),
  /** Label, in Unix seconds. */
  time: Type.Integer({ minimum: 0 }),
  clientTime: Type.String(),
  signature: Type.String(),
  roots: Type.Array(Type.String()),
});
export type Remembered = Static<typeof Remembered>;

/** HOLDFAST_STATE_DIR, else /var/lib/holdfast/client for root, else holdfast/ in XDG_STATE_HOME or ~/.local/state. */
export function clientStateDirectory(env: NodeJS.ProcessEnv, uid: number | undefined): string {
  if (env.HOLDFAST_STATE_DIR) return env.HOLDFAST_STATE_DIR;
  if (uid === 0) return '/var/lib/holdfast/client';
  return join(env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'holdfast');
}

export class LastSnapshots {
  readonly #directory: string;

  constructor(stateDirectory: string) {
    this.#directory = join(stateDirectory, 'last-snapshots');
  }

  /** Notes a snapshot as the last one of its group. @throws `target-failed` when the state cannot be written. */
  async remember(of: RememberedGroup, { client, server }: Manifest): Promise<void> {
    const { clientTime, signature, archives } = client;
    if (signature === undefined) throw new RangeError('a snapshot without signature is not remembered');
    const roots = archives.map((archive) => archive.root);
    const { store, ns, group, key } = of;
    const value: Remembered = { format: 1, store, ns, group, key, time: server.time, clientTime, signature, roots };
    await this.#prepare();
    await replacePrivateFile(this.#path(of), `${JSON.stringify(value, undefined, 1)}\n`, 'memory of the last snapshot');
  }

  /** The last snapshot of a group, undefined when none is known. @throws `key-damaged` when the file is damaged: it may have warned. */
  async last(of: RememberedGroup): Promise<Remembered | undefined> {
    const path = this.#path(of);
    const text = await readIfPresent(path);
    if (text === undefined) return undefined;
    try {
      return parseJson(text, Remembered);
    } catch (error) {
      if (!(error instanceof JsonShapeError)) throw error;
      throw new HoldfastError(
        'key-damaged',
        `${path}, which says what the last snapshot of ${of.group} was, is damaged (${error.message}); remove it if you trust the datastore`,
        { cause: error },
      );
    }
  }

  async #prepare(): Promise<void> {
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      await chmod(this.#directory, 0o700);
    } catch (error) {
      throw new HoldfastError(
        'target-failed',
        `the last snapshot cannot be remembered in ${this.#directory}: ${(error as Error).message}; set HOLDFAST_STATE_DIR`,
        { cause: error },
      );
    }
  }

  #path({ store, ns, group, key }: RememberedGroup): string {
    const name = shortHash(Buffer.from(canonicalJson({ store, ns, group, key }))).toString('hex');
    return join(this.#directory, `${name}.json`);
  }
}

/**
 * Why what is given for the latest cannot be it: older than what is remembered, or plain, so that anybody can have made it.
 * Undefined when it is the same, or newer by the clocks of the clients that made the two.
 */
export function olderThanRemembered({ client, server }: Manifest, last: Remembered | undefined): string | undefined {
  if (last === undefined) return undefined;
  // Members of a plain manifest prove nothing.
  const isSigned = client.key !== null;
  if (isSigned && (client.signature === last.signature || Date.parse(client.clientTime) > Date.parse(last.clientTime)))
    return undefined;
  return `${last.group}/${formatTime(server.time)}, made at ${client.clientTime}${client.key === null ? ' and not encrypted' : ''}, is given for the latest, but this client made ${last.group}/${formatTime(last.time)} at ${last.clientTime}`;
}
