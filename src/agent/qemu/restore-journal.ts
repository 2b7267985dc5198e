// A live restore that is not done yet: `guests/VMID/live-restore.json`. It outlives the process that serves the disks, so that another one can go on, and has all
// that is needed to end the restore or to undo it.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import type { GuestNode } from '../../guests/guest-node.ts';
import type { NodeDirectory } from '../../guests/node-directory.ts';
import type { GuestId } from '../../schema/guest-names.ts';
import { readIfPresent, writeFileAtomic } from '../../util/atomic-file.ts';
import { parseStateFile } from '../../util/json-file.ts';

const LiveDisk = Type.Object({
  key: Type.String(),
  archive: Type.String(),
  sizeBytes: Type.Integer({ minimum: 0 }),
  /** Volume id. */
  volume: Type.String(),
  format: Type.Union([Type.Literal('raw'), Type.Literal('qcow2')]),
  /** Volume that takes the guest's writes until a raw disk is whole. */
  overlay: Type.Optional(Type.String()),
  /** Written before the guest was started; nothing streams. */
  isWhole: Type.Boolean(),
});
export type LiveDisk = Static<typeof LiveDisk>;

const LiveRestore = Type.Object({
  format: Type.Literal(1),
  /** `vm/101/2026-11-20T02:00:00Z` */
  snapshot: Type.String(),
  /** `starting` until the disks stream, `whole` when none needs the backup any more. */
  stage: Type.Union([Type.Literal('starting'), Type.Literal('streaming'), Type.Literal('whole')]),
  bytesPerSecond: Type.Optional(Type.Integer({ minimum: 1 })),
  disks: Type.Array(LiveDisk),
  /** The configuration when all is done. */
  config: Type.String(),
  before: Type.Optional(Type.Object({ config: Type.String(), firewall: Type.Optional(Type.String()) })),
  /** Volumes of the guest that was there, freed when the new ones are whole. */
  replaced: Type.Array(Type.String()),
});
export type LiveRestore = Static<typeof LiveRestore>;

/**
 * That of a guest which is not done: its configuration is locked as long. What is left beside a guest that is not is of an earlier one, and says nothing
 * of its volumes. @throws `datastore-damaged` for a file that is not as above.
 */
export async function findLiveRestore(node: GuestNode, id: GuestId): Promise<LiveRestore | undefined> {
  if (!(await node.configs.list()).includes(id)) return undefined;
  const { config } = await node.configs.read(id);
  return config.values.get('lock') === 'create' ? await readLiveRestore(node.directory, id) : undefined;
}

/** @throws `datastore-damaged`. */
export async function readLiveRestore(node: NodeDirectory, id: GuestId): Promise<LiveRestore | undefined> {
  const text = await readIfPresent(fileOf(node, id));
  return text === undefined ? undefined : parseStateFile(fileOf(node, id), text, LiveRestore);
}

export async function writeLiveRestore(node: NodeDirectory, id: GuestId, state: LiveRestore): Promise<void> {
  await writeFileAtomic(fileOf(node, id), `${JSON.stringify(state, null, 2)}\n`);
}

export async function dropLiveRestore(node: NodeDirectory, id: GuestId): Promise<void> {
  await rm(fileOf(node, id), { force: true });
}

function fileOf(node: NodeDirectory, id: GuestId): string {
  return join(node.guestPath(id), 'live-restore.json');
}
