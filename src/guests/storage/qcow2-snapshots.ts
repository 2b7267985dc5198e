// Snapshots within a qcow2 image while no guest runs, by qemu-img. The format is always said: `qemu-img snapshot` would look for it otherwise.
import { HoldfastError } from '../../util/errors.ts';
import { refuseAborted, runTool } from './storage-tool.ts';

interface Qcow2Info {
  readonly snapshots?: readonly { readonly name: string }[];
  readonly 'format-specific'?: { readonly data: { readonly bitmaps?: readonly { readonly name: string }[] } };
}

/** An image as qemu-img takes it with `--image-opts`, opened as `format` and as nothing else. */
export function imageOptions(path: string, format: string): string {
  return `driver=${format},file.filename=${path.replaceAll(',', ',,')}`;
}

/** Also of an image that a guest has open. */
export async function listQcow2Snapshots(path: string, signal?: AbortSignal): Promise<string[]> {
  return namesIn(await readInfo(path, ['-U'], signal));
}

/** @throws `exists`, `guest-running`. */
export async function createQcow2Snapshot(path: string, snapshot: string, signal?: AbortSignal): Promise<void> {
  // qemu-img would make a second one of the same name.
  if (namesIn(await readInfo(path, [], signal)).includes(snapshot))
    throw new HoldfastError('exists', `${path} has a snapshot '${snapshot}' already`);
  await snapshotCommand(path, '-c', snapshot, signal);
}

/** @throws `not-found`, `guest-running`. */
export async function deleteQcow2Snapshot(path: string, snapshot: string, signal?: AbortSignal): Promise<void> {
  requireSnapshot(path, await readInfo(path, [], signal), snapshot);
  await snapshotCommand(path, '-d', snapshot, signal);
}

/** Removes all bitmaps first: they would be untrue afterwards, and QEMU refuses while there are any. @throws `not-found`, `guest-running`. */
export async function rollbackQcow2(path: string, snapshot: string, signal?: AbortSignal): Promise<void> {
  const info = await readInfo(path, [], signal);
  requireSnapshot(path, info, snapshot);
  refuseAborted(signal, path);
  for (const { name } of info['format-specific']?.data.bitmaps ?? [])
    await runTool('qemu-img', ['bitmap', '--remove', '-f', 'qcow2', '--', path, name], path);
  await snapshotCommand(path, '-a', snapshot, undefined);
}

async function snapshotCommand(
  path: string,
  what: '-a' | '-c' | '-d',
  snapshot: string,
  signal: AbortSignal | undefined,
) {
  refuseAborted(signal, path);
  // Not broken off: a killed qemu-img leaves clusters that nothing refers to.
  await runTool('qemu-img', ['snapshot', '--image-opts', what, snapshot, imageOptions(path, 'qcow2')], path);
}

async function readInfo(path: string, flags: readonly string[], signal: AbortSignal | undefined): Promise<Qcow2Info> {
  const args = ['info', '--output=json', ...flags, '-f', 'qcow2', '--', path];
  return JSON.parse((await runTool('qemu-img', args, path, { signal })).stdout) as Qcow2Info;
}

function namesIn(info: Qcow2Info): string[] {
  return (info.snapshots ?? []).map(({ name }) => name);
}

function requireSnapshot(path: string, info: Qcow2Info, snapshot: string): void {
  if (!namesIn(info).includes(snapshot)) throw new HoldfastError('not-found', `${path} has no snapshot '${snapshot}'`);
}
