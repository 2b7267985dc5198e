// The disks of a namespace as exports of an NBD server: `vm/101/2026-11-20T02:00:00Z/disk0.img`, with `latest` in place of the time.
import type { ServedDisk, ServedExports } from '../agent/nbd/served-disk.ts';
import { type ServeEnvironment, SnapshotDisk } from '../agent/serve/snapshot-disk.ts';
import type { DataKey } from '../chunker/data-key.ts';
import type { ReadDatastore } from '../datastore/read-datastore.ts';
import { type SnapshotName, snapshotLabel } from '../datastore/snapshots/group-store.ts';
import type { Archive } from '../schema/manifest.ts';
import { type Namespace, parseSnapshotRef } from '../schema/names.ts';
import { HoldfastError } from '../util/errors.ts';
import { type Answering, findTrusted, type KeyOptions } from './client-key.ts';
import type { ServingView } from './serving-view.ts';

/** A list that is longer would take longer to read than a client waits. */
const MAX_LISTED = 16_384;

export interface NbdExportsOptions {
  readonly store: Pick<ReadDatastore, 'groups'>;
  readonly repository: Answering;
  readonly ns: Namespace;
  readonly common: KeyOptions;
  /** Opens the encrypted ones; others are listed, and cannot be opened. */
  readonly key: DataKey | undefined;
  readonly view: ServingView;
  readonly environment: ServeEnvironment;
  /** Names of the only exports; undefined for every disk of the namespace. */
  readonly only: readonly string[] | undefined;
  report(message: string): void;
}

/** `vm/101/latest:disk0.img`, as users write it, to the name of the export. @throws `bad-name`, `bad-argument`. */
export function parseExport(text: string): string {
  const cut = text.lastIndexOf(':');
  const [snapshot, archive] = [text.slice(0, Math.max(0, cut)), text.slice(cut + 1)];
  if (cut < 0 || archive === '')
    throw new HoldfastError(
      'bad-argument',
      `--export takes SNAPSHOT:ARCHIVE, such as vm/101/latest:disk0.img, not ${JSON.stringify(text)}`,
    );
  parseSnapshotRef(snapshot);
  return `${snapshot}/${archive}`;
}

export class NbdExports implements ServedExports {
  readonly #options: NbdExportsOptions;
  /** Names of the disks of a snapshot, which never change. */
  readonly #disks = new Map<string, readonly string[]>();

  constructor(options: NbdExportsOptions) {
    this.#options = options;
  }

  async list(): Promise<readonly string[]> {
    const { store, ns, only } = this.#options;
    const { groups } = store;
    if (only !== undefined) return only;
    const names: string[] = [];
    for (const group of await groups.groups(ns)) {
      for (const time of await groups.times(ns, group)) {
        const snapshot = { ns, group, time };
        names.push(...(await this.#disksOf(snapshot)).map((disk) => `${snapshotLabel(snapshot)}/${disk}`));
        if (names.length > MAX_LISTED)
          throw new HoldfastError('too-many', `more than ${MAX_LISTED} disks: ask for one by its name`);
      }
    }
    return names;
  }

  /** A client's name that means nothing is no error of ours: undefined. @throws `manifest-altered` and what reading may throw. */
  async open(asked: string): Promise<ServedDisk | undefined> {
    const { only } = this.#options;
    // Who serves one disk need not name it.
    const name = asked === '' && only?.length === 1 ? (only[0] as string) : asked;
    if (only !== undefined && !only.includes(name)) return undefined;
    try {
      return await this.find(name);
    } catch (error) {
      if (error instanceof HoldfastError && (error.code === 'not-found' || error.code === 'bad-name')) return undefined;
      throw error;
    }
  }

  /** @throws `not-found`, `bad-name`, what `open` throws, and for an encrypted snapshot what `findTrusted` throws. */
  async find(name: string): Promise<ServedDisk> {
    const { repository, common, key, view, environment } = this.#options;
    const cut = name.lastIndexOf('/');
    const text = name.slice(0, Math.max(0, cut));
    const { name: snapshot, manifest } = await findTrusted(repository, text, common, key);
    const archive = manifest.client.archives.find((each) => each.name === name.slice(cut + 1));
    if (archive === undefined || !isDisk(archive))
      throw new HoldfastError(
        'not-found',
        `${text} has no disk ${name.slice(cut + 1)}${archive?.kind === 'tree' ? ', but a file tree of that name, which NBD cannot serve; look into it with: holdfast snapshot files' : ''}`,
      );
    await view.cover(snapshot, manifest.client.key === null ? undefined : manifest.server.space);
    return new SnapshotDisk(
      {
        label: `${snapshotLabel(snapshot)}/${archive.name}`,
        archive,
        space: manifest.server.space,
        isFixed: parseSnapshotRef(text).time !== undefined,
      },
      environment,
    );
  }

  async #disksOf(snapshot: SnapshotName): Promise<readonly string[]> {
    const label = snapshotLabel(snapshot);
    const known = this.#disks.get(label);
    if (known !== undefined) return known;
    try {
      const manifest = await this.#options.store.groups.manifest(snapshot);
      const disks = (manifest?.client.archives ?? []).filter(isDisk).map((archive) => archive.name);
      if (this.#disks.size >= MAX_LISTED) this.#disks.clear();
      this.#disks.set(label, disks);
      return disks;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      this.#options.report(`${label} is not listed: ${error.message}`);
      return [];
    }
  }
}

function isDisk(archive: Archive): boolean {
  return archive.kind === 'image' || archive.kind === 'stream';
}
