// Judges a store after a crash: what is listed is what may be listed, and every snapshot of it restores byte for byte. Both run the
// code of `holdfast snapshot list` and `holdfast restore` in this process: hundreds of program starts would be most of the time.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { runRestore } from '../../../src/agent/restore/run-restore.ts';
import { LocalRepository } from '../../../src/cli/local-repository.ts';
import { AVERAGE_CHUNK_BYTES, createDatastore } from '../../../src/datastore/config.ts';
import { ReadDatastore } from '../../../src/datastore/read-datastore.ts';
import { findSnapshot } from '../../../src/datastore/snapshots/find-snapshot.ts';
import { snapshotLabel } from '../../../src/datastore/snapshots/group-store.ts';
import { type ListedSnapshot, listSnapshots } from '../../../src/datastore/snapshots/list-snapshots.ts';
import { type GroupName, type Namespace, parseSnapshotRef } from '../../../src/schema/names.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { WorkerPool } from '../../../src/util/worker-pool.ts';
import { Scratch } from '../power-cut/scratch.ts';
import { WORKER } from './cli.ts';

/** By archive name, the file whose bytes the archive holds. */
export type Archives = Readonly<Record<string, string>>;

/** The empty store that threads let go of others with. */
const SCRATCH_BYTES = 1 << 20;

export interface Expected {
  /** Acknowledged: must be there. */
  readonly present: ReadonlyMap<string, Archives>;
  /** Acknowledged as forgotten: must not be there. */
  readonly forgotten?: readonly string[];
  /** A forget of these was under way: they may be there, and then whole. */
  readonly maybeForgotten?: readonly string[];
  /** What a backup under way read: one snapshot more may be there if it holds this. */
  readonly maybeMade?: Archives;
}

export class Verifier {
  readonly #pool = WorkerPool.start(WORKER, 2);
  readonly #contents = new Map<string, Buffer>();
  readonly #scratch = Scratch.create(SCRATCH_BYTES);

  async close(): Promise<void> {
    await this.#pool.close();
    this.#scratch.dispose();
  }

  /** Throws unless the listing is as expected and everything in it restores. Returns the listing. */
  async check(root: string, expected: Expected): Promise<readonly ListedSnapshot[]> {
    const store = await ReadDatastore.open(root);
    try {
      const listed = await listIn(store);
      requireExpected(listed, expected);
      const objects = store.objects(Number.POSITIVE_INFINITY);
      await objects.join(this.#pool);
      for (const { snapshot } of listed)
        await this.#restore(store, snapshot, expected.present.get(snapshot) ?? expected.maybeMade!);
      return listed;
    } finally {
      store.close();
      await this.#letGo();
    }
  }

  /** What `GROUP/latest` stands for; undefined when there is no snapshot. */
  async latest(root: string, group: string): Promise<string | undefined> {
    const store = await ReadDatastore.open(root);
    try {
      const request = { ns: '' as Namespace, group: group as GroupName, time: null };
      return snapshotLabel((await new LocalRepository(store).ask(findSnapshot, request)).name);
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'not-found') return undefined;
      throw error;
    } finally {
      store.close();
    }
  }

  /** Threads keep packs open until they join another store; what is mounted could not be unmounted. */
  async #letGo(): Promise<void> {
    const root = join(this.#scratch.path, 'empty');
    if (!existsSync(root)) await createDatastore(root, AVERAGE_CHUNK_BYTES[0]);
    const store = await ReadDatastore.open(root);
    await store.objects(Number.POSITIVE_INFINITY).join(this.#pool);
    store.close();
  }

  async #restore(store: ReadDatastore, label: string, archives: Archives): Promise<void> {
    const { group, time } = parseSnapshotRef(label);
    const manifest = await store.groups.manifest({ ns: '' as Namespace, group, time: time! });
    for (const [name, path] of Object.entries(archives)) {
      const archive = manifest?.client.archives.find((each) => each.name === name);
      if (archive === undefined) throw new Error(`${label} has no ${name}`);
      const comparison = new Comparison(this.#content(path));
      const request = {
        archive,
        space: manifest!.server.space,
        target: '-',
        zeroLost: false,
        overwrite: false,
        stdout: comparison,
        signal: new AbortController().signal,
        onProgress: () => {},
      };
      try {
        await runRestore(request, this.#pool, (space, id) => this.#pool.call(0, 'store.read', { space, id }));
      } catch (error) {
        throw new Error(`${label} ${name} does not restore: ${(error as Error).message}`, { cause: error });
      }
      comparison.requireWhole(`${label} ${name} against ${path}`);
    }
  }

  #content(path: string): Buffer {
    const known = this.#contents.get(path);
    if (known !== undefined) return known;
    const content = readFileSync(path);
    this.#contents.set(path, content);
    return content;
  }
}

/** The code of `holdfast snapshot list` on the store, in this process. */
export async function listSnapshotsOf(root: string): Promise<readonly ListedSnapshot[]> {
  const store = await ReadDatastore.open(root);
  try {
    return await listIn(store);
  } finally {
    store.close();
  }
}

const listIn = (store: ReadDatastore): Promise<readonly ListedSnapshot[]> =>
  new LocalRepository(store).ask(listSnapshots, { ns: '' as Namespace, group: null });

/** Throws unless the listing is as expected. */
function requireExpected(listed: readonly ListedSnapshot[], expected: Expected): void {
  const names = listed.map((row) => row.snapshot);
  const broken = listed.find((row) => row.error !== null || row.damaged);
  if (broken !== undefined) throw new Error(`${broken.snapshot} is listed as ${broken.error ?? 'damaged'}`);
  for (const name of expected.present.keys()) {
    if (!names.includes(name) && !expected.maybeForgotten?.includes(name))
      throw new Error(`acknowledged ${name} is gone; listed: ${names}`);
  }
  const back = expected.forgotten?.find((name) => names.includes(name));
  if (back !== undefined) throw new Error(`forgotten ${back} came back`);
  const more = names.filter((name) => !expected.present.has(name));
  if (more.length > (expected.maybeMade === undefined ? 0 : 1))
    throw new Error(`listed although nobody made it: ${more}`);
}

/** Compares what is written to it with what is expected. */
class Comparison extends Writable {
  readonly #expected: Buffer;
  #done = 0;
  #differsAt: number | undefined;

  constructor(expected: Buffer) {
    super();
    this.#expected = expected;
  }

  override _write(bytes: Uint8Array, _: string, done: () => void): void {
    const same = this.#expected.subarray(this.#done, this.#done + bytes.length).equals(bytes);
    if (!same) this.#differsAt ??= this.#done;
    this.#done += bytes.length;
    done();
  }

  requireWhole(what: string): void {
    if (this.#differsAt !== undefined) throw new Error(`${what}: differs at or after byte ${this.#differsAt}`);
    if (this.#done !== this.#expected.length)
      throw new Error(`${what}: ${this.#done} of ${this.#expected.length} bytes`);
  }
}

/**
 * What lies in a store that no finished operation would have left: open packs, condemned ones, session files, snapshot directories
 * without a manifest, unfinished atomic writes except beside a file that the next write of it replaces. Empty after a recovery and a
 * successful retry.
 */
export function residue(root: string): string[] {
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' });
  const files = new Set(names);
  return names.filter(
    (name) =>
      /^packs\/.*\.open$|^condemned\/|^sessions\/|-journal$/.test(name) ||
      (name.endsWith('.tmp') && !files.has(name.slice(0, -4))) ||
      (/^snapshots\/.*\/\d{4}-[^/]*Z$/.test(name) && !files.has(join(name, 'manifest.json'))),
  );
}
