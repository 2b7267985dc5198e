// Reads and changes limits.json. Whoever enforces a limit reads the file anew each time, so that a running holder sees a change at the
// next session or operation. Two changes at the same moment: the last one stays, whole.
import { randomBytes } from 'node:crypto';
import { rename, unlink } from 'node:fs/promises';
import { Limits } from '../../schema/limits-file.ts';
import { readIfPresent, syncDirectory, writeSynced } from '../../util/atomic-file.ts';
import { parseStateFile } from '../../util/json-file.ts';
import { describingRootErrors } from '../config.ts';
import type { Layout } from '../layout.ts';

export const NO_LIMITS: Limits = {
  format: 1,
  maintenance: { mode: 'none', message: '' },
  lowSpaceBytes: null,
  quotas: { namespaces: {}, owners: {} },
};

/** The limits of a datastore; `NO_LIMITS` without a file. @throws `datastore-damaged`: guessing could let in what was kept out. */
export async function readLimits(layout: Layout): Promise<Limits> {
  const text = await describingRootErrors(layout.root, () => readIfPresent(layout.limits));
  return text === undefined ? NO_LIMITS : parseStateFile(layout.limits, text, Limits);
}

/** Writes what `change` makes of the limits, durably, and returns it. */
export async function changeLimits(layout: Layout, change: (limits: Limits) => Limits): Promise<Limits> {
  const limits = change(await readLimits(layout));
  const temporary = `${layout.limits}.${randomBytes(4).toString('hex')}.tmp`;
  await describingRootErrors(layout.root, async () => {
    try {
      await writeSynced(temporary, `${JSON.stringify(limits, undefined, 1)}\n`);
      await rename(temporary, layout.limits);
    } catch (error) {
      await unlink(temporary).catch(() => undefined);
      throw error;
    }
    await syncDirectory(layout.root);
  });
  return limits;
}
