// A verification: reads packs, or what one snapshot reaches, quarantines what stays bad, and says which ranges of which snapshots are
// concerned. It changes nothing but the notes of what is bad and of what was proved; backups and garbage collection go on meanwhile.
import { HoldfastError } from '../../util/errors.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { Layout } from '../layout.ts';
import type { IndexLocator } from '../object-source.ts';
import type { PackTable } from '../packs/pack-table.ts';
import type { QuarantineList } from '../quarantine.ts';
import { type GroupStore, type SnapshotName, snapshotLabel } from '../snapshots/group-store.ts';
import { choose, sealedPackIds, targetsOf } from './choose-packs.ts';
import { Pace } from './pace.ts';
import { Proofs } from './proofs.ts';
import { type Reached, reach } from './reached.ts';
import { type PackOutcome, type PackTarget, readPacks } from './read-packs.ts';
import { type ArchiveDamage, allSnapshots, type BadManifest, damageOf, type NamedManifest } from './snapshot-damage.ts';
import { unknownPacks } from './unknown-packs.ts';

export interface VerifyContext {
  readonly layout: Layout;
  readonly storeId: string;
  readonly pool: WorkerPool;
  readonly groups: GroupStore;
  readonly locator: IndexLocator;
  readonly packs: PackTable;
  readonly quarantine: QuarantineList;
}

export interface VerifyRequest {
  /** Only what this snapshot reaches; null for everything. */
  readonly snapshot: SnapshotName | null;
  /** Packs that were proved at or after this time (Unix milliseconds) are left out. */
  readonly provedSinceMs: number;
  /** Bytes a second that may be read; null for as fast as it goes. */
  readonly rateLimitBytes: number | null;
}

export interface VerifyReport {
  readonly packsRead: number;
  /** Proved lately, and left out. */
  readonly packsSkipped: number;
  /** Dropped by garbage collection before they were read to their end. */
  readonly packsDropped: number;
  readonly recordsRead: number;
  /** Of them those that are encrypted: their checksums were checked, their content cannot be without the key. */
  readonly recordsEncrypted: number;
  readonly bytesRead: number;
  readonly metadataRead: number;
  /** Copies that stayed bad, those of objects that have another good copy included. */
  readonly copiesDamaged: number;
  /** Objects without a good copy that no snapshot reaches; null when metadata is lost, behind which they may be needed. */
  readonly unreferencedDamaged: number | null;
  /** Objects that snapshots reach and of which there is no copy at all: a pack is gone, or was cut off. */
  readonly objectsMissing: number;
  readonly damaged: readonly ArchiveDamage[];
  readonly packsDamaged: readonly { pack: string; problem: string }[];
  readonly manifestsDamaged: readonly BadManifest[];
}

export interface VerifyHooks {
  readonly signal: AbortSignal;
  readonly onProgress: (bytesDone: number, bytesTotal: number) => void;
}

/** Proofs are made durable so often: what a kill costs. */
const SAVE_EVERY_MS = 5000;

/** @throws `not-found`, `manifest-altered` for the snapshot asked for; damage is no error but the result. */
export async function verifyStore(
  context: VerifyContext,
  request: VerifyRequest,
  hooks: VerifyHooks,
): Promise<VerifyReport> {
  const { layout, storeId, pool, groups, quarantine } = context;
  const startedMs = Date.now();
  const proofs = await Proofs.load(layout.verifyState, storeId);
  const wanted = request.snapshot === null ? undefined : await oneSnapshot(groups, request.snapshot);
  try {
    const reachedBefore = wanted === undefined ? undefined : await reach(pool, [wanted], hooks.signal);
    const targets = await targetsOf(context, reachedBefore, hooks.signal);
    const { provedSinceMs } = request;
    const { due, skipped } = choose(targets, proofs, quarantine, { provedSinceMs, nowMs: startedMs });
    const found = await readAll(context, request, hooks, proofs, due, reachedBefore);
    // What was forgotten or made meanwhile: damage is that of the snapshots that are there now.
    const { good, bad } = wanted === undefined ? await allSnapshots(groups) : { good: [wanted], bad: [] };
    const reached = reachedBefore ?? (await reach(pool, good, hooks.signal));
    const mustLook = wanted !== undefined || reached.unreadable.length > 0;
    const damaged = mustLook ? await damageOf(pool, groups, good, hooks.signal) : [];
    if (wanted === undefined) quarantine.setMissing(damaged.length > 0);
    else if (damaged.length > 0) quarantine.setMissing(true);
    noteSnapshots(proofs, good, damaged, startedMs);
    if (wanted === undefined) proofs.keepOnly(sealedPackIds(context.packs), sessionsOf(good));
    const { lost, ...counts } = found;
    return {
      ...counts,
      packsSkipped: skipped,
      metadataRead: reached.metadataRead,
      unreferencedDamaged: wanted === undefined ? unreferenced(lost, reached) : 0,
      objectsMissing: reached.unreadable.filter(({ space, id }) => !isKnown(context.locator, space, id)).length,
      damaged,
      packsDamaged: [
        ...found.packsDamaged,
        ...(wanted === undefined ? unknownPacks(layout, context.packs, storeId) : []),
      ],
      manifestsDamaged: bad,
    };
  } finally {
    await pool.all('verify.end', undefined);
    await quarantine.flush();
    await proofs.save();
  }
}

const isKnown = ({ index }: IndexLocator, space: number, id: string): boolean =>
  index.first(space, Buffer.from(id, 'hex')) >= 0;

async function oneSnapshot(groups: GroupStore, name: SnapshotName): Promise<NamedManifest> {
  const manifest = await groups.manifest(name);
  if (manifest === undefined)
    throw new HoldfastError('not-found', `there is no snapshot ${snapshotLabel(name)}; see: holdfast snapshot list`);
  return { name, manifest };
}

type Found = Pick<
  VerifyReport,
  'packsRead' | 'packsDropped' | 'recordsRead' | 'recordsEncrypted' | 'bytesRead' | 'copiesDamaged' | 'packsDamaged'
> & { readonly lost: ReadonlySet<string> };

async function readAll(
  { pool }: VerifyContext,
  { rateLimitBytes }: VerifyRequest,
  { signal, onProgress }: VerifyHooks,
  proofs: Proofs,
  due: readonly PackTarget[],
  reached: Reached | undefined,
): Promise<Found> {
  const counts = { packsRead: 0, packsDropped: 0, recordsRead: 0, recordsEncrypted: 0, bytesRead: 0, copiesDamaged: 0 };
  const packsDamaged: { pack: string; problem: string }[] = [];
  const lost = new Set<string>();
  let savedMs = Date.now();
  const onPack = async ({ packId }: PackTarget, outcome: PackOutcome): Promise<void> => {
    counts.recordsRead += outcome.recordsRead;
    counts.recordsEncrypted += outcome.recordsEncrypted;
    counts.bytesRead += outcome.bytesRead;
    if (outcome.isGone) counts.packsDropped++;
    else counts.packsRead++;
    counts.copiesDamaged += outcome.bad.length;
    for (const { space, id, isLost } of outcome.bad) if (isLost) lost.add(`${space}:${id}`);
    for (const problem of outcome.problems) packsDamaged.push({ pack: packId, problem });
    const isWhole = outcome.bad.length === 0 && outcome.problems.length === 0 && !outcome.isGone;
    if (!isWhole) proofs.dropPack(packId);
    else if (reached === undefined) proofs.notePack(packId, outcome.startedMs);
    if (Date.now() - savedMs < SAVE_EVERY_MS) return;
    savedMs = Date.now();
    await proofs.save();
  };
  const pace = new Pace(rateLimitBytes ?? undefined);
  await readPacks(pool, due, { only: reached?.entries.buffer, pace, signal, onProgress, onPack });
  return { ...counts, packsDamaged, lost };
}

function noteSnapshots(
  proofs: Proofs,
  snapshots: readonly NamedManifest[],
  damaged: readonly ArchiveDamage[],
  verifiedMs: number,
): void {
  const bad = new Set(damaged.map(({ ns, snapshot }) => `${ns}|${snapshot}`));
  for (const { name, manifest } of snapshots)
    proofs.noteSnapshot(manifest.server.session, {
      verifiedMs,
      damaged: bad.has(`${name.ns}|${snapshotLabel(name)}`),
    });
}

const sessionsOf = (snapshots: readonly NamedManifest[]): Set<string> =>
  new Set(snapshots.map(({ manifest }) => manifest.server.session));

/** What is lost and was not met on the way from any snapshot. */
function unreferenced(lost: ReadonlySet<string>, reached: Reached): number | null {
  if (reached.unreadable.some((object) => !object.isData)) return null;
  const met = new Set(reached.unreadable.map(({ space, id }) => `${space}:${id}`));
  return [...lost].filter((object) => !met.has(object)).length;
}
