// The answers of QEMU that others rely on, in our words and units. Keys that a version adds are ignored, keys that a version dropped are
// not asked for; what is relied on and not there is an error, never a guess.
import { type Static, type TSchema, Type } from 'typebox';
import { HoldfastError } from '../../util/errors.ts';
import { hasShape } from '../../util/schema-check.ts';
import type { QmpCallOptions } from './qmp-client.ts';

/** What these need of a QmpClient. */
export interface QmpCommands {
  execute<T = unknown>(command: string, args?: Readonly<Record<string, unknown>>, options?: QmpCallOptions): Promise<T>;
}

export interface RunStatus {
  readonly running: boolean;
  /** `running`, `paused`, `prelaunch`, `shutdown`, `io-error`, ... */
  readonly status: string;
}

export interface DirtyBitmap {
  readonly name: string;
  readonly granularityBytes: number;
  readonly dirtyBytes: number;
  readonly recording: boolean;
  readonly busy: boolean;
  readonly persistent: boolean;
  /** QEMU was killed while it was written to: it can only be removed. */
  readonly inconsistent: boolean;
}

export interface BlockNode {
  readonly nodeName: string;
  readonly driver: string;
  readonly readOnly: boolean;
  readonly filename: string;
  readonly virtualSizeBytes: number;
  /** Undefined where the storage does not tell. */
  readonly actualSizeBytes: number | undefined;
  /** Those with a name; QEMU's own jobs keep nameless ones. */
  readonly bitmaps: readonly DirtyBitmap[];
}

export interface BlockJob {
  readonly id: string;
  /** `backup`, `mirror`, `stream`, `commit`, ... */
  readonly type: string;
  readonly status: string;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly speedBytesPerSecond: number;
  readonly paused: boolean;
  readonly ready: boolean;
  readonly ioStatus: string;
  readonly error: string | undefined;
}

export interface BlockExport {
  readonly id: string;
  readonly type: string;
  readonly nodeName: string;
  readonly shuttingDown: boolean;
}

export interface BlockDevice {
  /** QOM path or id of the device; undefined for a drive that no device has. */
  readonly qdev: string | undefined;
  readonly removable: boolean;
  /** `ok`, `failed`, `nospace`; undefined where the device keeps none. */
  readonly ioStatus: string | undefined;
  /** The node that the device sees; undefined for an empty drive. */
  readonly nodeName: string | undefined;
}

export interface DiskTraffic {
  /** Requests. */
  readonly writes: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
}

const STATUS = Type.Object({ running: Type.Boolean(), status: Type.String() });
const BITMAP = Type.Object({
  name: Type.Optional(Type.String()),
  count: Type.Number(),
  granularity: Type.Number(),
  recording: Type.Boolean(),
  busy: Type.Boolean(),
  persistent: Type.Boolean(),
  inconsistent: Type.Optional(Type.Boolean()),
});
const NODES = Type.Array(
  Type.Object({
    'node-name': Type.String(),
    drv: Type.String(),
    ro: Type.Boolean(),
    file: Type.String(),
    image: Type.Object({ 'virtual-size': Type.Number(), 'actual-size': Type.Optional(Type.Number()) }),
    'dirty-bitmaps': Type.Optional(Type.Array(BITMAP)),
  }),
);
const BLOCK_JOBS = Type.Array(
  Type.Object({
    device: Type.String(),
    type: Type.String(),
    status: Type.String(),
    offset: Type.Number(),
    len: Type.Number(),
    speed: Type.Number(),
    paused: Type.Boolean(),
    ready: Type.Boolean(),
    'io-status': Type.String(),
    error: Type.Optional(Type.String()),
  }),
);
const EXPORTS = Type.Array(
  Type.Object({
    id: Type.String(),
    type: Type.String(),
    'node-name': Type.String(),
    'shutting-down': Type.Boolean(),
  }),
);
const DEVICES = Type.Array(
  Type.Object({
    qdev: Type.Optional(Type.String()),
    removable: Type.Boolean(),
    'io-status': Type.Optional(Type.String()),
    inserted: Type.Optional(Type.Object({ 'node-name': Type.Optional(Type.String()) })),
  }),
);
const TRAFFIC = Type.Array(
  Type.Object({
    stats: Type.Object({ wr_operations: Type.Number(), rd_bytes: Type.Number(), wr_bytes: Type.Number() }),
  }),
);

/** @throws like all here: as `QmpClient.execute`, and `guest-failed` when the answer is not what we rely on */
export async function queryStatus(qmp: QmpCommands, options?: QmpCallOptions): Promise<RunStatus> {
  const { running, status } = await query(qmp, STATUS, 'query-status', undefined, options);
  return { running, status };
}

/** All nodes, those below others too. */
export async function queryBlockNodes(qmp: QmpCommands, options?: QmpCallOptions): Promise<BlockNode[]> {
  const nodes = await query(qmp, NODES, 'query-named-block-nodes', { flat: true }, options);
  return nodes.map((node) => ({
    nodeName: node['node-name'],
    driver: node.drv,
    readOnly: node.ro,
    filename: node.file,
    virtualSizeBytes: node.image['virtual-size'],
    actualSizeBytes: node.image['actual-size'],
    bitmaps: (node['dirty-bitmaps'] ?? []).flatMap((bitmap) => (bitmap.name ? [dirtyBitmap(bitmap, bitmap.name)] : [])),
  }));
}

function dirtyBitmap(bitmap: Static<typeof BITMAP>, name: string): DirtyBitmap {
  const { count, granularity, recording, busy, persistent, inconsistent = false } = bitmap;
  return { name, granularityBytes: granularity, dirtyBytes: count, recording, busy, persistent, inconsistent };
}

export async function queryBlockJobs(qmp: QmpCommands, options?: QmpCallOptions): Promise<BlockJob[]> {
  const jobs = await query(qmp, BLOCK_JOBS, 'query-block-jobs', undefined, options);
  return jobs.map((job) => ({
    id: job.device,
    type: job.type,
    status: job.status,
    offsetBytes: job.offset,
    lengthBytes: job.len,
    speedBytesPerSecond: job.speed,
    paused: job.paused,
    ready: job.ready,
    ioStatus: job['io-status'],
    error: job.error,
  }));
}

export async function queryBlockExports(qmp: QmpCommands, options?: QmpCallOptions): Promise<BlockExport[]> {
  const exports = await query(qmp, EXPORTS, 'query-block-exports', undefined, options);
  return exports.map(({ id, type, 'node-name': nodeName, 'shutting-down': shuttingDown }) => {
    return { id, type, nodeName, shuttingDown };
  });
}

/** The guest's disks and drives. */
export async function queryBlockDevices(qmp: QmpCommands, options?: QmpCallOptions): Promise<BlockDevice[]> {
  const devices = await query(qmp, DEVICES, 'query-block', undefined, options);
  return devices.map(({ qdev, removable, 'io-status': ioStatus, inserted }) => {
    return { qdev, removable, ioStatus, nodeName: inserted?.['node-name'] };
  });
}

/** What the guest has read and written since its QEMU started, all disks together; jobs and exports do not count. */
export async function queryDiskTraffic(qmp: QmpCommands, options?: QmpCallOptions): Promise<DiskTraffic> {
  const devices = await query(qmp, TRAFFIC, 'query-blockstats', undefined, options);
  return {
    writes: devices.reduce((sum, { stats }) => sum + stats.wr_operations, 0),
    readBytes: devices.reduce((sum, { stats }) => sum + stats.rd_bytes, 0),
    writtenBytes: devices.reduce((sum, { stats }) => sum + stats.wr_bytes, 0),
  };
}

async function query<Schema extends TSchema>(
  qmp: QmpCommands,
  schema: Schema,
  command: string,
  args: Readonly<Record<string, unknown>> | undefined,
  options: QmpCallOptions | undefined,
): Promise<Static<Schema>> {
  const answer = await qmp.execute(command, args, options);
  if (hasShape(schema, answer, Number.POSITIVE_INFINITY)) return answer;
  const words = JSON.stringify(answer)?.slice(0, 200);
  throw new HoldfastError('guest-failed', `${command} answered with what is not understood: ${words}`, {
    data: { command },
  });
}

/** For a command that QEMU refuses when there is nothing to do. */
export function ignoreRefusal(error: unknown): void {
  if (!(error instanceof HoldfastError) || error.data.qmpClass === undefined) throw error;
}
