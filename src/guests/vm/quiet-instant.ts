// Runs work at one instant of a running guest: its file systems frozen when its agent can, and its processors paused, so that all disks are of one moment.
import type { GuestId } from '../../schema/guest-names.ts';
import { parseAgentOption } from '../config/agent-option.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import type { QmpClient } from '../qmp/qmp-client.ts';
import { queryStatus } from '../qmp/qmp-types.ts';
import { pause, runOn, whileMarkedFrozen } from './held-still.ts';

export interface QuietInstant {
  readonly node: GuestNode;
  readonly id: GuestId;
  readonly config: VmConfig;
  readonly monitor: QmpClient;
  readonly report: Report;
  readonly signal?: AbortSignal | undefined;
}

/** A guest that does not run at the moment is neither frozen nor made to run. @throws what `work` throws; the guest goes on then, too. */
export async function atQuietInstant<Result>(instant: QuietInstant, work: () => Promise<Result>): Promise<Result> {
  const { node, id, config, monitor, report, signal } = instant;
  if ((await queryStatus(monitor)).status !== 'running') return await work();
  const run = node.directory.run(id);
  const paused = async (): Promise<Result> => {
    await pause(monitor, run);
    try {
      return await work();
    } finally {
      await runOn(monitor, run);
    }
  };
  const agent = parseAgentOption(config.values.get('agent'));
  if (!agent.enabled || !agent.freezeFs) return await paused();
  return await whileMarkedFrozen(node, id, paused, { signal, ...report });
}
