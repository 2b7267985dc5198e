// The extents of a VMA archive as whole pages of its devices, in the order in which they become whole. Every cluster of every device comes
// exactly once, or the archive is refused with the offset and the device.
import { PAGE_BYTES } from '../../chunker/object.ts';
import { HoldfastError } from '../../util/errors.ts';
import { ClusterSet, PAGE_CLUSTERS } from './cluster-set.ts';
import type { ExactReader } from './exact-reader.ts';
import type { PageAssembler, PageContent } from './page-assembler.ts';
import { bitCount, VmaExtent } from './vma-extent.ts';
import type { VmaDevice, VmaHeader } from './vma-header.ts';
import { BLOCK_BYTES, CLUSTER_BLOCKS, CLUSTER_BYTES, SLOTS } from './vma-layout.ts';

/** All devices together. What is kept of a device while it is read grows with its size: 2 MiB a TiB. */
export const MAX_DEVICE_BYTES = 64 * 2 ** 40;

/** A page of a device that is whole. */
export interface VmaPage {
  readonly device: VmaDevice;
  /** Number of the page in its device, and its bytes: fewer at the end. */
  readonly page: number;
  readonly length: number;
  /** Undefined: zeros. */
  readonly content: PageContent | undefined;
}

interface Intake {
  readonly device: VmaDevice;
  readonly clusters: ClusterSet;
}

/**
 * Reads the extents behind the header. Of devices that are not in `wanted` clusters are passed over and not checked.
 * @throws `source-failed` for an archive that is damaged, cut off or not whole; `too-large`.
 */
export async function* readVmaPages(
  reader: ExactReader,
  header: VmaHeader,
  wanted: readonly VmaDevice[],
  assembler: PageAssembler,
): AsyncGenerator<VmaPage> {
  requireSize(wanted);
  const intakes = new Map(wanted.map((device) => [device.id, { device, clusters: new ClusterSet(device.sizeBytes) }]));
  const known = new Set(header.devices.map(({ id }) => id));
  const extent = new VmaExtent();
  for (let at = reader.offset; await extent.read(reader, header.uuid); at = reader.offset) {
    for (let slot = 0; slot < SLOTS; slot++) {
      const id = extent.devices[slot] as number;
      if (id === 0) continue;
      const mask = extent.masks[slot] as number;
      const cluster = extent.clusters[slot] as number;
      const intake = intakes.get(id);
      if (intake === undefined) {
        if (!known.has(id)) throw reader.damaged(`an extent names device ${id}, which the header does not have`, at);
        await skipCluster(reader, mask, id);
        continue;
      }
      requireCluster(reader, intake, cluster, mask, at);
      if (mask !== 0) await readCluster(reader, intake, cluster, mask, assembler);
      const page = Math.floor(cluster / PAGE_CLUSTERS);
      if (intake.clusters.hasPage(page)) yield await wholePage(intake.device, page, assembler);
    }
  }
  for (const intake of intakes.values()) requireWhole(reader, intake);
}

function requireSize(devices: readonly VmaDevice[]): void {
  const sum = devices.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0);
  if (sum > MAX_DEVICE_BYTES)
    throw new HoldfastError(
      'too-large',
      `the disks of the archive claim ${sum} bytes; ${MAX_DEVICE_BYTES} are the most`,
    );
}

/** Marks the cluster as come. */
function requireCluster(reader: ExactReader, intake: Intake, cluster: number, mask: number, at: number): void {
  const { device, clusters } = intake;
  const wrong = (why: string): HoldfastError =>
    reader.damaged(`cluster ${cluster} of device ${device.id} (${device.name}) ${why}`, at, about(device, cluster));
  if (cluster >= clusters.size) throw wrong(`lies behind the end of the device, which has ${clusters.size}`);
  const left = device.sizeBytes - cluster * CLUSTER_BYTES;
  if (left < CLUSTER_BYTES && mask >> Math.ceil(left / BLOCK_BYTES) !== 0)
    throw wrong('has blocks behind the end of the device');
  if (!clusters.add(cluster)) throw wrong('comes a second time');
}

async function readCluster(
  reader: ExactReader,
  { device }: Intake,
  cluster: number,
  mask: number,
  assembler: PageAssembler,
): Promise<void> {
  const room = await assembler.room(device.id, cluster, mask);
  for (let block = 0; block < CLUSTER_BLOCKS; ) {
    const from = block;
    while (block < CLUSTER_BLOCKS && ((mask >> block) & 1) === 1) block++;
    if (block === from) {
      block++;
      continue;
    }
    const target = room.subarray(from * BLOCK_BYTES, block * BLOCK_BYTES);
    const filled = reader.fill(target);
    if ((typeof filled === 'number' ? filled : await filled) < target.length)
      throw reader.cutOff(`cluster ${cluster} of device ${device.id} (${device.name})`, about(device, cluster));
  }
}

async function skipCluster(reader: ExactReader, mask: number, id: number): Promise<void> {
  const length = bitCount(mask) * BLOCK_BYTES;
  if (length > 0 && (await reader.skip(length)) < length) throw reader.cutOff(`a cluster of device ${id}`);
}

async function wholePage(device: VmaDevice, page: number, assembler: PageAssembler): Promise<VmaPage> {
  const length = Math.min(PAGE_BYTES, device.sizeBytes - page * PAGE_BYTES);
  return { device, page, length, content: await assembler.take(device.id, page) };
}

function requireWhole(reader: ExactReader, { device, clusters }: Intake): void {
  const missing = clusters.firstMissing();
  if (missing === undefined) return;
  const count = clusters.size - clusters.count;
  throw reader.damaged(
    `it ends, and ${count} of ${clusters.size} clusters of device ${device.id} (${device.name}) have not come, the first at its byte ${missing * CLUSTER_BYTES}: it is cut off, or its backup was; get the whole file`,
    reader.offset,
    about(device, missing),
  );
}

function about(device: VmaDevice, cluster: number): Record<string, unknown> {
  return { device: device.name, cluster };
}
