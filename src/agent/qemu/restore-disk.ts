// The bytes of one disk into a volume that nobody uses. A raw one is written by our threads, in place; a qcow2 one by qemu-img, which reads the disk over
// NBD and leaves holes unallocated.
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { runTool } from '../../guests/storage/storage-tool.ts';
import type { GuestId } from '../../schema/guest-names.ts';
import type { Archive } from '../../schema/manifest.ts';
import { runRestore, syncAndClose } from '../restore/run-restore.ts';
import type { VmRestoreRequest } from './restore-request.ts';
import { serveSnapshot, tellOnce } from './restore-serve.ts';
import type { NewVolume } from './restore-volumes.ts';

/** What the slowest disk that we wait for writes in a millisecond. */
const SLOWEST_BYTES_PER_MS = 1000;
const LEAST_TIMEOUT_MS = 600_000;
/** Of a timer in Node: 24 days. */
const MOST_TIMEOUT_MS = 2 ** 31 - 1;

type DiskRequest = Pick<VmRestoreRequest, 'node' | 'snapshot' | 'report' | 'onProgress' | 'signal'> & {
  readonly id: GuestId;
};

/** Writes the disk, durable on return. @throws `object-missing`, `object-damaged`, `target-failed`, `disk-full`, `tool-missing`, `aborted`. */
export async function restoreDiskInto(
  request: DiskRequest,
  key: string,
  archive: Archive,
  volume: NewVolume,
): Promise<void> {
  const onProgress = (done: number, total: number): void => request.onProgress(key, done, total);
  if (volume.format === 'qcow2') return await writeQcow2(request, archive, volume.path, onProgress);
  const { snapshot, signal } = request;
  const work = { archive, space: snapshot.space, target: volume.path, overwrite: true, zeroLost: false };
  await runRestore({ ...work, stdout: process.stdout, signal, onProgress }, snapshot.pool, snapshot.get);
}

async function writeQcow2(
  { node, id, snapshot, report, signal }: DiskRequest,
  archive: Archive,
  path: string,
  onProgress: (done: number, total: number) => void,
): Promise<void> {
  const { sizeBytes } = archive;
  const socket = join(node.directory.run(id).path, 'restore-disk.nbd');
  let refused: Error | undefined;
  const server = await serveSnapshot(snapshot, socket, {
    refused: (error) => {
      refused ??= error;
    },
    waits: tellOnce((message) => report.warn(message)),
  });
  try {
    const source = `driver=nbd,server.type=unix,server.path=${socket.replaceAll(',', ',,')},export=${archive.name}`;
    const how = ['-n', '--target-is-zero', '-W', '-m', '8', '-p', '--image-opts', '-O', 'qcow2'];
    await runTool('qemu-img', ['convert', ...how, source, path], path, {
      signal,
      timeoutMs: Math.min(MOST_TIMEOUT_MS, LEAST_TIMEOUT_MS + sizeBytes / SLOWEST_BYTES_PER_MS),
      onOutput: (text) => {
        const percent = /.*\(([\d.]+)\/100%\)/s.exec(text)?.[1];
        if (percent !== undefined) onProgress(Math.round((Number(percent) / 100) * sizeBytes), sizeBytes);
      },
    });
    // qemu-img leaves what it wrote to the page cache.
    await syncAndClose(await open(path, 'r+'), path);
  } catch (error) {
    signal.throwIfAborted();
    // qemu-img knows that a read failed, and not why.
    throw refused ?? error;
  } finally {
    await server.close();
    await rm(socket, { force: true });
  }
}
