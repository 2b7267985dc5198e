// From a group and a label, or none, to a snapshot that is there.

import { Type } from 'typebox';
import { SnapshotNameAnswer } from '../../schema/answer-parts.ts';
import { Manifest } from '../../schema/manifest.ts';
import { formatTime, type GroupName, type Namespace } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { Query } from '../control/query.ts';
import type { GroupReader } from './group-reader.ts';
import type { SnapshotName } from './group-store.ts';

export interface SnapshotRequest {
  readonly ns: Namespace;
  readonly group: GroupName;
  /** Label in Unix seconds; null is the latest. */
  readonly time: number | null;
}

/** The name of the snapshot that is meant now: `latest` may be another one a moment later. No manifest is read. */
export const resolveSnapshot: Query<SnapshotRequest, SnapshotName> = {
  name: 'resolve',
  answer: SnapshotNameAnswer,
  run: async ({ groups }, request) => await resolve(groups, request),
};

/** The snapshot with its manifest. Throws `not-found`, `manifest-altered`. */
export const findSnapshot: Query<SnapshotRequest, { readonly name: SnapshotName; readonly manifest: Manifest }> = {
  name: 'find',
  answer: Type.Object({ name: SnapshotNameAnswer, manifest: Manifest }),
  run: async ({ groups, seesSizes }, request) => {
    const name = await resolve(groups, request);
    const manifest = await groups.manifest(name);
    if (manifest === undefined) throw notThere(request, 'it holds no manifest');
    return { name, manifest: seesSizes ? manifest : withoutSizes(manifest) };
  },
};

/** Without what its session really took on disk, which shows what others had stored already. */
export function withoutSizes(manifest: Manifest): Manifest {
  const { bytesStored, ...server } = manifest.server;
  return { ...manifest, server };
}

async function resolve(groups: GroupReader, request: SnapshotRequest): Promise<SnapshotName> {
  const { ns, group } = request;
  const times = await groups.times(ns, group);
  const time = request.time ?? times.at(-1);
  if (time === undefined || !times.includes(time)) throw notThere(request, `see: holdfast snapshot list ${group}`);
  return { ns, group, time };
}

function notThere({ ns, group, time }: SnapshotRequest, more: string): HoldfastError {
  const where = ns === '' ? '' : ` in namespace ${ns}`;
  const label = time === null ? 'latest' : formatTime(time);
  return new HoldfastError('not-found', `there is no snapshot ${group}/${label}${where}; ${more}`);
}
