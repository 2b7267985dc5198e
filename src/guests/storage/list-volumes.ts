// The volumes that a storage's directory has: what has the name of one and is a file there. Other files are left out.
import { lstat, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { formatVolumeId } from '../../schema/guest-names.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { readQcow2Header } from './qcow2-header.ts';
import type { ContentType, Volume } from './storage.ts';
import { CONTENT_DIRECTORIES, findVolumeName, formatVolumeName, type VolumeName } from './volume-name.ts';
import type { VolumePlaces } from './volume-places.ts';

/** What `stat` counts in. */
const BLOCK_BYTES = 512;

/** Names of one type of content, of one guest's images or of all. */
export async function namesOf(
  places: VolumePlaces,
  root: string,
  content: ContentType,
  vmid: number | undefined,
): Promise<VolumeName[]> {
  const top = join(root, CONTENT_DIRECTORIES[content]);
  if (content !== 'images')
    return (await entriesOf(top)).flatMap((entry) => findVolumeName(`${content}/${entry}`) ?? []);
  const guests = vmid === undefined ? (await entriesOf(top)).filter((entry) => /^\d+$/.test(entry)) : [String(vmid)];
  const names: VolumeName[] = [];
  for (const guest of guests) {
    const entries = await entriesOf(join(top, guest));
    for (const [format, form] of Object.entries(places.forms)) {
      const stems = entries.flatMap((entry) => form.stemOf(entry) ?? []);
      names.push(...stems.flatMap((stem) => findVolumeName(`${guest}/${stem}.${format}`) ?? []));
    }
  }
  return names;
}

/** Undefined for what is no regular file, or gone meanwhile. */
export async function describeVolume(
  places: VolumePlaces,
  root: string,
  name: VolumeName,
): Promise<Volume | undefined> {
  const formatted = formatVolumeName(name);
  try {
    const path = await places.fileOf(root, name);
    const { size, blocks, ctimeMs } = await lstat(path);
    const header = name.format === 'qcow2' ? await readQcow2Header(path) : undefined;
    const backing = header?.backingFile;
    const parent = backing === undefined ? undefined : places.backingName(root, dirname(path), backing);
    return {
      id: formatVolumeId({ storage: places.id, name: formatted }),
      name: formatted,
      format: name.format,
      sizeBytes: header?.sizeBytes ?? size,
      usedBytes: blocks * BLOCK_BYTES,
      vmid: name.vmid,
      content: name.content,
      ctime: Math.floor(ctimeMs / 1000),
      ...(parent !== undefined && { parent: formatVolumeId({ storage: places.id, name: parent }) }),
    };
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    if (error instanceof HoldfastError && (error.code === 'not-found' || error.code === 'target-unfit'))
      return undefined;
    throw error;
  }
}

/** No names for a directory that nobody has made yet. */
async function entriesOf(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return [];
    throw error;
  }
}
