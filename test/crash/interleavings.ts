// The store under everything at once: backups, retries, forgets, collections, readers and crashes in random interleavings on real
// threads and files, beside a model of what must be there. A seed gives the same actions again; when threads run is the machine's.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ObjectId } from '../../src/chunker/object.ts';
import type { Work } from '../../src/datastore/control/operation.ts';
import type { ObjectSource } from '../../src/datastore/object-source.ts';
import { removePruned } from '../../src/datastore/prune/prune-operation.ts';
import { ReadDatastore } from '../../src/datastore/read-datastore.ts';
import { type SnapshotName, snapshotLabel } from '../../src/datastore/snapshots/group-store.ts';
import type { Manifest } from '../../src/schema/manifest.ts';
import { type Namespace, parseGroup } from '../../src/schema/names.ts';
import { randomNumbers } from '../support/power-cut/crash-points.ts';
import {
  clientPart,
  createTemporaryStore,
  NO_SIGNAL,
  OpenStore,
  putData,
  putImage,
  putPage,
} from '../support/store.ts';
import { contentOf, flipBit, putList, readImage, SHARED_CONTENTS, sizeOf, textOf } from './interleaving-images.ts';
import {
  GROUPS,
  type Group,
  type InterleavingPlan,
  type InterleavingReport,
  notNewest,
  type OpenSession,
  type Snapshot,
  scopeOf,
} from './interleaving-model.ts';

const NS = '' as Namespace;
const MAX_SESSIONS = 3;
const MAX_IN_FLIGHT = 6;
const UNDAMAGED = { damaged: [], packsDamaged: [], copiesDamaged: 0, objectsMissing: 0 };
const SILENT: Work = { signal: NO_SIGNAL, onProgress: () => {}, warn: () => {} };
/** Errors that may happen once a record was damaged, and at no other time. */
const DAMAGE = ['object-damaged', 'object-missing', 'out-of-scope', 'datastore-damaged'];

/** Runs one plan in a store of its own. Throws at the first thing that is not as the model says. */
export async function runInterleaving(plan: InterleavingPlan): Promise<InterleavingReport> {
  const { root, remove } = await createTemporaryStore();
  const world = new World(root, plan);
  try {
    await world.run();
    return { done: Object.fromEntries([...world.done].sort()) };
  } finally {
    await world.close();
    await remove();
  }
}

class World {
  readonly done = new Map<string, number>();
  readonly #root: string;
  readonly #plan: InterleavingPlan;
  readonly #random: () => number;
  /** By key (or plain) and number: a key gives the same content another id. */
  readonly #ids = new Map<string, ObjectId>();
  readonly #inFlight = new Set<Promise<void>>();
  readonly #snapshots = new Map<string, Snapshot>();
  /** Commits that were not answered. */
  readonly #maybe: (Pick<OpenSession, 'group' | 'adopted'> & Pick<Snapshot, 'contents'>)[] = [];
  /** What suspended sessions of a group put: it counts for the next ones until one of them commits. */
  readonly #left = new Map<Group, Set<number>>();
  #sessions: OpenSession[] = [];
  #open: OpenStore | undefined;
  #nextFresh = SHARED_CONTENTS;
  #isDamaged = false;
  #isCollecting = false;
  #isVerifying = false;
  #isDown = false;
  #failure: unknown;

  constructor(root: string, plan: InterleavingPlan) {
    this.#root = root;
    this.#plan = plan;
    this.#random = randomNumbers(plan.seed);
  }

  async run(): Promise<void> {
    this.#open = await OpenStore.open(this.#root);
    const actions = this.#actions();
    for (let step = 0; step < this.#plan.steps; step++) {
      const action = this.#pick(actions);
      await action();
      if (this.#failure !== undefined) throw this.#failure;
      while (this.#inFlight.size > MAX_IN_FLIGHT) await Promise.race(this.#inFlight);
      if (this.#random() < 0.3) await sleep(this.#random() * 6);
    }
    await this.#settle();
    await this.#reopen();
    await this.#checkAll();
    if (!this.#isDamaged) await this.#requireNothingStays();
  }

  async close(): Promise<void> {
    await this.#settle();
    await this.#open?.crash();
  }

  /** Each as often as it should happen. */
  #actions(): (() => void | Promise<void>)[] {
    const weighted: [number, () => void | Promise<void>][] = [
      [10, () => this.#start('open', () => this.#openSession())],
      [52, () => this.#put()],
      [14, () => this.#commit()],
      [6, () => this.#suspend()],
      [12, () => this.#forget()],
      [16, () => this.#collect()],
      [4, () => this.#verify()],
      [5, () => this.#prune()],
      [10, () => this.#start('read', () => this.#readOne())],
      [6, () => this.#start('reader', () => this.#readBeside())],
      [2, () => this.#crash()],
      [1, () => this.#closeAndOpen()],
      ...(this.#plan.damages ? ([[1, () => this.#damage()]] as [number, () => void][]) : []),
    ];
    return weighted.flatMap(([weight, action]) => Array.from({ length: weight }, () => action));
  }

  // What happens at once ---------------------------------------------------------------------------------------------------------

  async #openSession(): Promise<void> {
    if (this.#sessions.length >= MAX_SESSIONS) return;
    const group = this.#pick(Object.keys(GROUPS) as Group[]);
    const { owner, key } = GROUPS[group];
    const before = [...this.#snapshots.values()].filter(
      (each) => scopeOf(each.group) === scopeOf(group) && each.state === 'there',
    );
    const left = [...(this.#left.get(group) ?? [])];
    const session = await this.#store.session(group, owner, key);
    // A forget may have come before the session was there, and a commit that ended the leftovers.
    const there = before.filter((each) => each.state === 'there').flatMap((each) => each.contents);
    const adopted = [...(this.#left.get(group) ?? [])];
    const inScope = [...there, ...left.filter((each) => adopted.includes(each))];
    this.#sessions.push({
      session,
      group,
      inScope,
      adopted,
      put: new Set(),
      fresh: new Set(),
      puts: [],
      isEnding: false,
    });
    this.#count(key === undefined ? 'open' : 'open encrypted');
  }

  #put(): void {
    const open = this.#anySession();
    if (open === undefined) return;
    const isFresh = this.#random() < 0.2;
    const which = isFresh ? this.#nextFresh++ : Math.floor(this.#random() * SHARED_CONTENTS);
    const thread = this.#random() < 0.5 ? 0 : 1;
    this.#start(
      'put',
      async () => {
        this.#ids.set(idKey(open.group, which), await putData(this.#store, open.session, contentOf(which), thread));
        open.put.add(which);
        if (isFresh) open.fresh.add(which);
        this.#count('put');
      },
      open.puts,
    );
  }

  #commit(): void {
    const open = this.#anySession();
    if (open === undefined) return;
    open.isEnding = true;
    this.#sessions.splice(this.#sessions.indexOf(open), 1);
    this.#start('commit', async () => {
      await Promise.all(open.puts);
      const known = [...new Set([...open.put, ...open.inScope])];
      if (known.length === 0) return await open.session.suspend();
      // What it did not put itself is what rules are about.
      const pool = open.inScope.length > 0 && this.#random() < 0.7 ? open.inScope : known;
      const contents = Array.from({ length: 1 + Math.floor(this.#random() * 6) }, () => this.#pick(pool));
      const maybe = { group: open.group, adopted: open.adopted, contents };
      this.#maybe.push(maybe);
      const half = Math.ceil(contents.length / 2);
      const pages: { id: ObjectId; length: number }[] = [];
      for (const part of [contents.slice(0, half), contents.slice(half)].filter((each) => each.length > 0))
        pages.push({
          id: await putPage(
            open.session,
            part.map((each) => this.#piece(open.group, each)),
          ),
          length: sizeOf(part),
        });
      const image = await putList(open.session, pages);
      const client = clientPart(image, sizeOf(contents), open.group, GROUPS[open.group].key);
      const { name } = await open.session.commit(client, undefined, NO_SIGNAL);
      this.#maybe.splice(this.#maybe.indexOf(maybe), 1);
      this.#endLeftovers(open);
      this.#snapshots.set(keyOf(name), { name, group: open.group, contents, state: 'there' });
      this.#count(GROUPS[open.group].key === undefined ? 'commit' : 'commit encrypted');
    });
  }

  /** What a commit's session had adopted is no retry's any more. */
  #endLeftovers({ group, adopted }: Pick<OpenSession, 'group' | 'adopted'>): void {
    for (const each of adopted) this.#left.get(group)?.delete(each);
  }

  #suspend(): void {
    const open = this.#anySession();
    if (open === undefined) return;
    this.#sessions.splice(this.#sessions.indexOf(open), 1);
    this.#start('suspend', async () => {
      await Promise.all(open.puts);
      await open.session.suspend();
      this.#left.set(open.group, new Set([...(this.#left.get(open.group) ?? []), ...open.fresh]));
      this.#count('suspend');
    });
  }

  #forget(): void {
    const there = [...this.#snapshots.values()].filter((each) => each.state === 'there');
    if (there.length < 2) return;
    const snapshot = this.#pick(there);
    snapshot.state = 'going';
    this.#start('forget', async () => {
      await this.#store.store.forget(snapshot.name);
      this.#snapshots.delete(keyOf(snapshot.name));
      this.#count('forget');
    });
  }

  #collect(): void {
    if (this.#isCollecting) return;
    this.#isCollecting = true;
    const pauses = [this.#random(), this.#random()].map((share) => share * 40);
    this.#start('gc', async () => {
      try {
        await this.#collectAndAudit(pauses);
      } finally {
        this.#isCollecting = false;
      }
    });
  }

  async #collectAndAudit(pauses: readonly number[]): Promise<void> {
    await this.#store.store.collectGarbage({ signal: NO_SIGNAL }, async (gc) => {
      const marked = await gc.mark();
      await sleep(pauses[0]);
      const swept = await gc.sweep(gc.plan(marked));
      await sleep(pauses[1]);
      const { unreadable } = await gc.audit();
      if (!this.#isDamaged) assert.deepEqual(unreadable, [], 'the audit misses objects');
      this.#count('gc');
      this.#count('packs dropped', swept.packsDropped);
      this.#count('packs rewritten', swept.packsRewritten);
    });
  }

  /** Without damage a verification finds none, whatever happens beside it. */
  #verify(): void {
    if (this.#isVerifying) return;
    this.#isVerifying = true;
    this.#start('verify', async () => {
      try {
        const request = { snapshot: null, provedSinceMs: Number.POSITIVE_INFINITY, rateLimitBytes: null };
        const report = await this.#store.store.verify(request, { signal: NO_SIGNAL, onProgress: () => {} });
        const { damaged, packsDamaged, copiesDamaged, objectsMissing } = report;
        if (!this.#isDamaged)
          assert.deepEqual({ damaged, packsDamaged, copiesDamaged, objectsMissing }, UNDAMAGED, 'verify found damage');
        this.#count('verify');
      } finally {
        this.#isVerifying = false;
      }
    });
  }

  /** Carries out a plan of one group that keeps its newest. */
  #prune(): void {
    const older = notNewest([...this.#snapshots.values()]);
    if (older.length === 0) return;
    const { group } = this.#pick(older);
    const going = older.filter((each) => each.group === group);
    for (const snapshot of going) snapshot.state = 'going';
    this.#start('prune', async () => {
      const groups = [{ group: parseGroup(group), times: going.map(({ name }) => name.time) }];
      await removePruned.run(this.#store.store, { ns: NS, groups }, SILENT);
      for (const { name } of going) this.#snapshots.delete(keyOf(name));
      this.#count('prune');
    });
  }

  /** A snapshot that is there reads back through the holder, whatever else happens. */
  async #readOne(): Promise<void> {
    const there = [...this.#snapshots.values()].filter((each) => each.state === 'there');
    if (there.length === 0) return;
    const snapshot = this.#pick(there);
    const manifest = await this.#store.store.groups.manifest(snapshot.name);
    if (manifest === undefined && snapshot.state !== 'there') return;
    assert.ok(manifest !== undefined, `${snapshotLabel(snapshot.name)} is gone`);
    try {
      this.#requireContents(this.#store.store.source, manifest, snapshot);
      this.#count('read');
    } catch (error) {
      // What is forgotten while it is read may go.
      if (snapshot.state === 'there') throw error;
    }
  }

  /** A reader with a lock of its own reads what was there when it came, for as long as it likes. */
  async #readBeside(): Promise<void> {
    const there = [...this.#snapshots.values()].filter((each) => each.state === 'there');
    if (there.length === 0) return;
    const snapshot = this.#pick(there);
    const pauses = [this.#random() * 20, this.#random() * 60];
    const lookups = this.#random() < 0.5 ? 1 : Number.POSITIVE_INFINITY;
    const reader = await ReadDatastore.open(this.#root);
    try {
      await sleep(pauses[0]);
      const manifest = await reader.groups.manifest(snapshot.name);
      if (manifest === undefined) {
        assert.notEqual(snapshot.state, 'there', `${snapshotLabel(snapshot.name)} is gone for a reader`);
        return;
      }
      const objects = reader.objects(lookups);
      await sleep(pauses[1]);
      try {
        this.#requireContents(objects.source, manifest, snapshot);
        this.#count('read beside');
      } catch (error) {
        // The manifest may be older than the look at the packs.
        if (snapshot.state === 'there') throw error;
      }
    } finally {
      reader.close();
    }
  }

  /** Flips bits in the middle of a pack. */
  #damage(): void {
    const packs = readdirSync(join(this.#root, 'packs')).filter((name) => name.endsWith('.pack'));
    if (packs.length === 0) return;
    this.#isDamaged = true;
    if (flipBit(join(this.#root, 'packs', this.#pick(packs)), this.#random())) this.#count('damage');
  }

  // What everything waits for -----------------------------------------------------------------------------------------------------

  /** Threads end in the middle of what they do; what was under way fails, and the store is opened again. */
  async #crash(): Promise<void> {
    this.#isDown = true;
    await this.#store.pool.close();
    await this.#settle();
    await this.#store.crash();
    await this.#openAgain();
    this.#count('crash');
  }

  async #closeAndOpen(): Promise<void> {
    await this.#settle();
    await this.#reopen();
    this.#count('reopen');
  }

  async #reopen(): Promise<void> {
    await this.#store.close();
    await this.#openAgain();
  }

  async #openAgain(): Promise<void> {
    this.#sessions = [];
    this.#open = await OpenStore.open(this.#root);
    this.#isDown = false;
    await this.#reconcile();
  }

  /** What was under way is there as a whole or not at all; then the model knows which. */
  async #reconcile(): Promise<void> {
    const { groups } = this.#store.store;
    const found = new Set<string>();
    for (const group of Object.keys(GROUPS) as Group[]) {
      for (const time of await groups.times(NS, parseGroup(group))) {
        const name = { ns: NS, group: parseGroup(group), time };
        const manifest = await groups.manifest(name);
        if (manifest === undefined) continue;
        found.add(keyOf(name));
        if (this.#snapshots.has(keyOf(name))) continue;
        const made = this.#maybe.find((each) => each.group === group && this.#isWhole(manifest, group, each.contents));
        assert.ok(made !== undefined || this.#isDamaged, `${snapshotLabel(name)} is there, and nobody made it`);
        if (made === undefined) continue;
        this.#snapshots.set(keyOf(name), { name, group, contents: made.contents, state: 'there' });
        this.#endLeftovers(made);
      }
    }
    this.#maybe.length = 0;
    for (const [key, snapshot] of this.#snapshots) {
      if (!found.has(key)) {
        assert.equal(snapshot.state, 'going', `${snapshotLabel(snapshot.name)} was reported and is gone`);
        this.#snapshots.delete(key);
      } else snapshot.state = 'there';
    }
  }

  async #checkAll(): Promise<void> {
    for (const snapshot of this.#snapshots.values()) {
      const manifest = await this.#store.store.groups.manifest(snapshot.name);
      assert.ok(manifest !== undefined);
      this.#requireContents(this.#store.store.source, manifest, snapshot);
    }
  }

  /** With every snapshot forgotten and every retry done, collections leave nothing: no garbage is for ever. */
  async #requireNothingStays(): Promise<void> {
    for (const [group, { owner, key }] of Object.entries(GROUPS)) {
      const session = await this.#store.session(group, owner, key);
      const id = await putData(this.#store, session, 'the last one');
      const image = await putImage(session, await putPage(session, [{ id, length: 12 }]), 12);
      await session.commit(clientPart(image, 12, group, key), undefined, NO_SIGNAL);
      const { groups } = this.#store.store;
      for (const time of await groups.times(NS, parseGroup(group)))
        await this.#store.store.forget({ ns: NS, group: parseGroup(group), time });
    }
    await this.#store.store.collectGarbage({ signal: NO_SIGNAL }, async (gc) => gc.sweep(gc.plan(await gc.mark())));
    for (const folder of ['packs', 'condemned', 'sessions'])
      assert.deepEqual(readdirSync(join(this.#root, folder)), [], `${folder} keeps something`);
  }

  // Helpers -----------------------------------------------------------------------------------------------------------------------

  get #store(): OpenStore {
    assert.ok(this.#open !== undefined);
    return this.#open;
  }

  #pick<Value>(values: readonly Value[]): Value {
    return values[Math.floor(this.#random() * values.length)] as Value;
  }

  #count(what: string, by = 1): void {
    this.done.set(what, (this.done.get(what) ?? 0) + by);
  }

  #anySession(): OpenSession | undefined {
    const open = this.#sessions.filter((each) => !each.isEnding);
    return open.length === 0 ? undefined : this.#pick(open);
  }

  #piece(group: Group, which: number): { id: ObjectId; length: number } {
    return { id: this.#ids.get(idKey(group, which)) as ObjectId, length: contentOf(which).length };
  }

  /** Begins something and goes on; what it throws ends the run, unless a crash or damage explains it. */
  #start(what: string, work: () => Promise<void>, into: Promise<unknown>[] = []): void {
    const running: Promise<void> = work()
      .catch((error: unknown) => {
        const code = (error as { code?: string }).code ?? '';
        if (this.#isDown || (this.#isDamaged && DAMAGE.includes(code))) this.#count(`${what} failed`);
        else this.#failure ??= new Error(`${what}: ${(error as Error).message}`, { cause: error });
      })
      .finally(() => this.#inFlight.delete(running));
    this.#inFlight.add(running);
    into.push(running);
  }

  async #settle(): Promise<void> {
    while (this.#inFlight.size > 0) await Promise.all(this.#inFlight);
  }

  #isWhole(manifest: Manifest, group: Group, contents: readonly number[]): boolean {
    try {
      return readImage(this.#store.store.source, manifest, GROUPS[group].key) === textOf(contents);
    } catch {
      return false;
    }
  }

  #requireContents(source: ObjectSource, manifest: Manifest, snapshot: Snapshot): void {
    let text: string;
    try {
      text = readImage(source, manifest, GROUPS[snapshot.group].key);
    } catch (error) {
      if (this.#isDamaged && DAMAGE.includes((error as { code?: string }).code ?? '')) {
        this.#count('read as damaged');
        return;
      }
      throw new Error(`${snapshotLabel(snapshot.name)} does not read: ${(error as Error).message}`, { cause: error });
    }
    assert.ok(text === textOf(snapshot.contents), `${snapshotLabel(snapshot.name)} reads as something else`);
  }
}

const keyOf = (name: SnapshotName): string => snapshotLabel(name);
const idKey = (group: Group, which: number): string => `${GROUPS[group].key?.fingerprint ?? 'plain'} ${which}`;
