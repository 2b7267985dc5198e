// Old images name their backing file without its format, and QEMU then probes it. The rule is the one for the image itself:
// a probed format is believed when it is raw, refers to no further file, or agrees with the file's name.
import { HoldfastError } from '../../util/errors.ts';
import { run } from '../../util/run.ts';
import { openError } from './file-size.ts';
import { readClaim, readFormat } from './image-format.ts';
import { cannotOpen } from './image-server.ts';

/** Formats that QEMU's drivers cannot chain. */
const CHAINLESS = new Set(['raw', 'vdi', 'vhdx', 'vpc']);

/** What we read of `qemu-img info --output=json`. */
interface ImageInfo {
  filename: string;
  format: string;
  'backing-filename'?: string;
  'backing-filename-format'?: string;
}

/** Throws `source-failed` with the command that repairs the image, or with QEMU's own words. */
export async function refuseProbedBackingFiles(
  path: string,
  driver: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (CHAINLESS.has(driver) || standsAlone(path, driver)) return;
  const chain = await readChain(path, driver, signal);
  for (const [index, image] of chain.entries()) {
    const backing = chain[index + 1];
    if (!backing || image['backing-filename-format'] !== undefined || isBelievable(backing)) continue;
    const repair = `qemu-img rebase -u -F FORMAT -b ${image['backing-filename']} ${image.filename}`;
    const message =
      `${image.filename} does not record the format of its backing file ${backing.filename}, which looks like ${backing.format} ` +
      `and refers to a further file. If its guest once had it as a raw disk, that is forged. Record the format: ${repair}`;
    throw new HoldfastError('source-failed', message, { data: { path: image.filename, backing: backing.filename } });
  }
}

function standsAlone(path: string, driver: string): boolean {
  try {
    const format = readFormat(path);
    return format.driver === driver && format.refersTo === undefined;
  } catch (error) {
    throw openError(path, error);
  }
}

function isBelievable(image: ImageInfo): boolean {
  if (image.format === 'raw') return true;
  try {
    const claim = readClaim(image.filename);
    return claim.driver === image.format && claim.refersTo === undefined;
  } catch {
    // Not a local file: nobody can look, so nobody vouches for it.
    return false;
  }
}

async function readChain(path: string, driver: string, signal: AbortSignal | undefined): Promise<ImageInfo[]> {
  try {
    const { stdout } = await run('qemu-img', ['info', '--output=json', '--backing-chain', '-f', driver, '--', path], {
      signal,
    });
    return JSON.parse(stdout) as ImageInfo[];
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'source-failed')
      throw cannotOpen(path, String(error.data.stderr));
    throw error;
  }
}
