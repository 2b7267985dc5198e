// File systems that somebody froze who was killed before thawing them: the marker in the run directory tells, and the next who works on the guest thaws.
import { rm } from 'node:fs/promises';
import type { GuestId } from '../../schema/guest-names.ts';
import { readIfPresent } from '../../util/atomic-file.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { GuestAgent } from '../qmp/guest-agent.ts';

/**
 * Call with the guest's lock or its backup's lock, so that nobody is between freezing and thawing. An agent that does not answer is a warning, and the
 * marker stays for the next.
 */
export async function thawForgotten(node: GuestNode, id: GuestId, report: Report): Promise<void> {
  const { frozenMarker, guestAgent } = node.directory.run(id);
  if ((await readIfPresent(frozenMarker)) === undefined) return;
  const label = `VM ${id}`;
  try {
    const agent = await GuestAgent.connect(guestAgent, { label });
    try {
      if ((await agent.freezeStatus()) === 'frozen') {
        const count = await agent.thaw();
        report.warn(`${count} file systems were left frozen by an operation that was killed; they are thawed`);
      }
    } finally {
      agent.close();
    }
    await rm(frozenMarker, { force: true });
  } catch (error) {
    report.warn(
      `file systems of ${label} may have been left frozen, and cannot be thawed: ${(error as Error).message}`,
    );
  }
}
