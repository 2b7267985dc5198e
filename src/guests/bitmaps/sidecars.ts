// Bitmaps of disks over a power cycle. QEMU stores those of a qcow2 image in it; it cannot for a raw one, whose bitmaps are merged into a small qcow2 image
// beside it before QEMU ends, and back before the guest runs. Of either kind they are believed only while the disk's file is the one that was left: same inode,
// size and times of change. The record of that is gone before the guest runs, so a crash leaves none that is older than the disk.
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type Static, Type } from 'typebox';
import type { GuestId } from '../../schema/guest-names.ts';
import { readIfPresent, removeDurably, writeFileAtomic } from '../../util/atomic-file.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { parseIfSound } from '../../util/json-file.ts';
import { run } from '../../util/run.ts';
import type { NodeDirectory } from '../node-directory.ts';
import { isAlone, type RunningDisk, storesBitmaps } from '../qemu/running-machine.ts';
import { type QmpCommands, queryBlockNodes } from '../qmp/qmp-types.ts';
import { BITMAP_GRANULARITY } from './bitmap-names.ts';
import { listBitmaps } from './qemu-bitmaps.ts';

/** Node of a sidecar's image while its bitmaps are copied. */
const SIDE = 'hf-sidecar';

const Fingerprint = Type.Object({
  path: Type.String(),
  inode: Type.String(),
  sizeBytes: Type.Integer(),
  mtimeNs: Type.String(),
  ctimeNs: Type.String(),
});
type Fingerprint = Static<typeof Fingerprint>;

const Sidecars = Type.Object({
  format: Type.Literal(1),
  /** By disk key. */
  disks: Type.Record(Type.String(), Type.Object({ file: Fingerprint, bitmaps: Type.Array(Type.String()) })),
});

/** A disk of a guest that is written to. */
export interface FileDisk {
  readonly key: string;
  readonly path: string;
  /** As qcow2 images do that are not of an old form. */
  readonly storesBitmaps: boolean;
  /** Of a block device, and of an image that names further files, nothing tells whether somebody wrote to it meanwhile: no bitmap is believed. */
  readonly isAlone: boolean;
}

/** All that a seal asks. */
export type SealedDisk = Pick<FileDisk, 'key' | 'path'>;

/** What was stored but is not sealed yet: QEMU may still write to the disks. */
export type Unsealed = Readonly<Record<string, FileDisk & { readonly bitmaps: readonly string[] }>>;

/** What may be believed of stopped disks. */
export interface Trust {
  /** Names of the bitmaps in the sidecars of raw disks, by disk key. */
  readonly sidecars: ReadonlyMap<string, readonly string[]>;
  /** qcow2 disks whose own bitmaps are not to be believed: `reconcileBitmaps`. */
  readonly doubted: readonly string[];
}

/** What files were at a moment, by disk key. */
export type SeenFiles = ReadonlyMap<string, Fingerprint>;

/** The disks that bitmaps are kept of while no QEMU has them. */
export function fileDisks<Disk extends { readonly path?: string | undefined }>(
  disks: readonly (Disk &
    Pick<RunningDisk, 'key' | 'format' | 'isBlockDevice' | 'isReadOnly' | 'isAlone' | 'storesBitmaps'>)[],
): FileDisk[] {
  return disks.flatMap((disk) => {
    const { key, path, isReadOnly } = disk;
    if (path === undefined || isReadOnly) return [];
    return [{ key, path, storesBitmaps: storesBitmaps(disk), isAlone: isAlone(disk) }];
  });
}

/** Stores the bitmaps of stopped disks as far as QEMU does not. Call with the guest stopped, and `sealSidecars` when QEMU has ended. */
export async function storeSidecars(
  monitor: QmpCommands,
  node: NodeDirectory,
  id: GuestId,
  disks: readonly FileDisk[],
): Promise<Unsealed> {
  const bitmaps = (await listBitmaps(monitor)).filter(({ isInconsistent }) => !isInconsistent);
  const sizes = new Map((await queryBlockNodes(monitor)).map((each) => [each.nodeName, each.virtualSizeBytes]));
  const stored: Record<string, FileDisk & { bitmaps: string[] }> = {};
  for (const disk of disks) {
    const { key } = disk;
    const ours = bitmaps.filter((bitmap) => bitmap.key === key).map(({ name }) => name);
    const sizeBytes = sizes.get(`d-${key}`);
    if (ours.length === 0 || sizeBytes === undefined || !disk.isAlone) continue;
    stored[key] = { ...disk, bitmaps: ours };
    if (disk.storesBitmaps) continue;
    const sidecar = sidecarPath(node, id, key);
    await rm(sidecar, { force: true });
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '--', sidecar, String(sizeBytes)], {
      failure: 'write-failed',
    });
    await copyBitmaps(monitor, sidecar, ours, `d-${key}`, SIDE, { persistent: true, disabled: true });
  }
  return stored;
}

/** What the files of raw disks are, by key; for `sealSidecars`. Into qcow2 ones QEMU itself writes when it opens them. */
export async function lookAtFiles(disks: readonly FileDisk[]): Promise<SeenFiles> {
  const seen = new Map<string, Fingerprint>();
  for (const { key, path, storesBitmaps, isAlone } of disks) {
    const file = isAlone && !storesBitmaps ? await fingerprint(path) : undefined;
    if (file !== undefined) seen.set(key, file);
  }
  return seen;
}

/**
 * Records of what files the bitmaps speak. Call when QEMU has ended: from here on they are believed. `untouched` is what raw files were since when nobody was to
 * write to them. Returns the disks that somebody wrote to nevertheless, which no bitmap has: theirs are not believed.
 */
export async function sealSidecars(
  node: NodeDirectory,
  id: GuestId,
  unsealed: Unsealed,
  untouched?: SeenFiles,
): Promise<string[]> {
  const touched: string[] = [];
  const disks: Record<string, { file: Fingerprint; bitmaps: string[] }> = {};
  for (const [key, { path, storesBitmaps, bitmaps }] of Object.entries(unsealed)) {
    const file = await fingerprint(path);
    if (untouched !== undefined && !storesBitmaps && !isDeepStrictEqual(file, untouched.get(key))) touched.push(key);
    else if (file !== undefined) disks[key] = { file, bitmaps: [...bitmaps] };
  }
  if (Object.keys(disks).length > 0) await writeRecords(node, id, disks);
  return touched;
}

/** What is still true of what was sealed. Look before QEMU opens the disks for writing. */
export async function trustedSidecars(node: NodeDirectory, id: GuestId, disks: readonly FileDisk[]): Promise<Trust> {
  const records = await readRecords(node, id);
  const sidecars = new Map<string, readonly string[]>();
  const doubted: string[] = [];
  for (const { key, path, storesBitmaps, isAlone } of disks) {
    const record = records[key];
    const isSame = isAlone && record !== undefined && isDeepStrictEqual(await fingerprint(path), record.file);
    if (isSame && !storesBitmaps) sidecars.set(key, record.bitmaps);
    if (!isSame && (storesBitmaps || !isAlone)) doubted.push(key);
  }
  return { sidecars, doubted };
}

/** Work of ours that changes files of stopped disks and no byte that their guest sees: what was believed of them still is. Not where it throws. */
export async function keepingSeals(
  node: NodeDirectory,
  id: GuestId,
  disks: readonly SealedDisk[],
  work: () => Promise<void>,
): Promise<void> {
  const records = await readRecords(node, id);
  const sealed: (readonly [string, { file: Fingerprint; bitmaps: string[] }])[] = [];
  for (const { key, path } of disks) {
    const record = records[key];
    if (record !== undefined && isDeepStrictEqual(await fingerprint(path), record.file)) sealed.push([key, record]);
  }
  await work();
  const anew = { ...records };
  for (const [key, record] of sealed) {
    const file = await fingerprint(record.file.path);
    if (file !== undefined) anew[key] = { ...record, file };
  }
  if (sealed.length > 0) await writeRecords(node, id, anew);
}

/** Merges trusted bitmaps back, and removes all sidecars. Call with QEMU started and the guest not yet running. */
export async function loadSidecars(
  monitor: QmpCommands,
  node: NodeDirectory,
  id: GuestId,
  { sidecars }: Pick<Trust, 'sidecars'>,
): Promise<void> {
  // A record that is gone, for good, makes the images worthless, whatever happens next.
  await removeDurably(recordPath(node, id));
  for (const [key, names] of sidecars) {
    const sidecar = sidecarPath(node, id, key);
    await copyBitmaps(monitor, sidecar, names, SIDE, `d-${key}`, {});
    await rm(sidecar, { force: true });
  }
  // Those that are not believed, also of disks that are gone.
  const directory = node.guestPath(id);
  for (const name of await readdir(directory))
    if (/^bitmaps-[a-z]+\d+\.qcow2$/.test(name)) await rm(join(directory, name), { force: true });
}

/** Removes what a guest has of sidecars: its bitmaps are not to be believed any more. */
export async function dropSidecars(node: NodeDirectory, id: GuestId, keys: readonly string[]): Promise<void> {
  await removeDurably(recordPath(node, id));
  for (const key of keys) await rm(sidecarPath(node, id, key), { force: true });
}

/** From one node to the other, of which one is that of the sidecar; all or none, for one that is there and empty would be believed. */
async function copyBitmaps(
  monitor: QmpCommands,
  sidecar: string,
  names: readonly string[],
  from: string,
  to: string,
  more: { persistent?: boolean; disabled?: boolean },
): Promise<void> {
  const file = { driver: 'file', filename: sidecar };
  await monitor.execute('blockdev-add', { driver: 'qcow2', 'node-name': SIDE, file });
  try {
    const actions = names.flatMap((name) => [
      { type: 'block-dirty-bitmap-add', data: { node: to, name, granularity: BITMAP_GRANULARITY, ...more } },
      { type: 'block-dirty-bitmap-merge', data: { node: to, target: name, bitmaps: [{ node: from, name }] } },
    ]);
    await monitor.execute('transaction', { actions });
  } finally {
    // Closing the node is what writes its bitmaps.
    await monitor.execute('blockdev-del', { 'node-name': SIDE });
  }
}

async function readRecords(node: NodeDirectory, id: GuestId): Promise<Static<typeof Sidecars>['disks']> {
  const text = await readIfPresent(recordPath(node, id));
  return (text !== undefined && parseIfSound(text, Sidecars)?.disks) || {};
}

async function writeRecords(node: NodeDirectory, id: GuestId, disks: Static<typeof Sidecars>['disks']): Promise<void> {
  await writeFileAtomic(recordPath(node, id), `${JSON.stringify({ format: 1, disks }, null, 2)}\n`);
}

async function fingerprint(path: string): Promise<Fingerprint | undefined> {
  try {
    const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return { path, inode: String(ino), sizeBytes: Number(size), mtimeNs: String(mtimeNs), ctimeNs: String(ctimeNs) };
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw new HoldfastError('source-failed', `${path} cannot be looked at: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function sidecarPath(node: NodeDirectory, id: GuestId, key: string): string {
  return join(node.guestPath(id), `bitmaps-${key}.qcow2`);
}

function recordPath(node: NodeDirectory, id: GuestId): string {
  return join(node.guestPath(id), 'sidecars.json');
}
