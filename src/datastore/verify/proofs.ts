// What was proved, and when: remembered over restarts, so that a verification goes on where the last one stopped. It proves nothing by
// itself: without the file, or with one of another store, every pack is simply unproved. docs/format.md, section 9.
import { VerifyState } from '../../schema/state-files.ts';
import { readIfPresent, writeFileAtomic } from '../../util/atomic-file.ts';
import { parseIfSound } from '../../util/json-file.ts';

/** What the last verification of a snapshot said. */
export type SnapshotProof = VerifyState['snapshots'][string];

export class Proofs {
  readonly #path: string;
  readonly #store: string;
  readonly #packs: Map<string, number>;
  #snapshots: Map<string, SnapshotProof>;
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, state: VerifyState) {
    this.#path = path;
    this.#store = state.store;
    this.#packs = new Map(Object.entries(state.packs));
    this.#snapshots = new Map(Object.entries(state.snapshots));
  }

  /** Reads the file at `path` for the store with this id. */
  static async load(path: string, store: string): Promise<Proofs> {
    return new Proofs(path, (await readState(path, store)) ?? { store, packs: {}, snapshots: {} });
  }

  /** When a pack was proved, in Unix milliseconds; 0 for never. A time that is still to come proves nothing: the clock was wrong. */
  provedMs(packId: string, nowMs: number): number {
    const at = this.#packs.get(packId) ?? 0;
    return at > nowMs ? 0 : at;
  }

  /** What the last verification of the snapshot of a session said. */
  snapshot(session: string): SnapshotProof | undefined {
    return this.#snapshots.get(session);
  }

  notePack(packId: string, provedMs: number): void {
    this.#packs.set(packId, provedMs);
  }

  dropPack(packId: string): void {
    this.#packs.delete(packId);
  }

  noteSnapshot(session: string, proof: SnapshotProof): void {
    this.#snapshots.set(session, proof);
  }

  /** Forgets packs and snapshots that are not there any more. */
  keepOnly(packIds: ReadonlySet<string>, sessions: ReadonlySet<string>): void {
    for (const packId of this.#packs.keys()) if (!packIds.has(packId)) this.#packs.delete(packId);
    for (const session of this.#snapshots.keys()) if (!sessions.has(session)) this.#snapshots.delete(session);
  }

  /** Makes durable what was noted until now; saves follow each other. */
  async save(): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      const state: VerifyState = {
        store: this.#store,
        packs: Object.fromEntries(this.#packs),
        snapshots: Object.fromEntries(this.#snapshots),
      };
      await writeFileAtomic(this.#path, `${JSON.stringify(state)}\n`);
    });
    await this.#writing;
  }
}

async function readState(path: string, store: string): Promise<VerifyState | undefined> {
  const text = await readIfPresent(path);
  // Without it packs are read a second time, and no data is lost.
  const state = text === undefined ? undefined : parseIfSound(text, VerifyState);
  return state?.store === store ? state : undefined;
}
