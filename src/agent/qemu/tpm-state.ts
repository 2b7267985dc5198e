// The state of a guest's TPM for its backup: a copy of some KiB, taken at the point in time. QEMU knows nothing of that file, so there is no tracking of what
// changes in it, and swtpm may write while it is copied: what counts are two reads that are equal.
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseDrive } from '../../guests/config/drive.ts';
import type { GuestNode } from '../../guests/guest-node.ts';
import { planTpm, TPM_KEY, TPM_STATE_BYTES } from '../../guests/qemu/tpm.ts';
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';

/** More is no state of a TPM. */
const MAX_STATE_BYTES = 64 << 20;
const MAX_READS = 10;

export interface TpmCopy {
  /** A raw image, private to the user. */
  readonly path: string;
  remove(): Promise<void>;
}

/**
 * Copies the state into the guest's run directory, filled up with zeros to the size that Proxmox gives such a volume. Undefined for a guest without a TPM.
 * @throws `source-failed`, and what `planTpm` throws.
 */
export async function copyTpmState(node: GuestNode, id: GuestId): Promise<TpmCopy | undefined> {
  const { config } = await node.configs.read(id);
  const plan = await planTpm(config, node.storages);
  if (plan === undefined || !parseDrive(TPM_KEY, config.values.get(TPM_KEY) as string).backup) return undefined;
  const state = await readTwice(plan.path, id);
  const path = join(node.directory.run(id).path, 'backup-tpmstate0.raw');
  await rm(path, { force: true });
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(state);
    await file.truncate(Math.max(TPM_STATE_BYTES, Math.ceil(state.length / 512) * 512));
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  return { path, remove: async () => await rm(path, { force: true }) };
}

async function readTwice(path: string, id: GuestId): Promise<Buffer> {
  let last = await read(path);
  for (let reads = 1; reads < MAX_READS; reads++) {
    const next = await read(path);
    if (next.equals(last)) return next;
    last = next;
  }
  throw new HoldfastError(
    'source-failed',
    `VM ${id}: the state of its TPM (${path}) changed at each of ${MAX_READS} reads; back the guest up with --mode suspend`,
  );
}

async function read(path: string): Promise<Buffer> {
  try {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      if (size > MAX_STATE_BYTES)
        throw new HoldfastError('source-failed', `${path} has ${size} bytes: no state of a TPM`);
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError('source-failed', `${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}
