// `hookscript` of a guest's configuration: a snippet of a storage that is run around starts and stops, with the arguments VMID and phase.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { requireHookScript, runHookScript } from '../../util/hook-script.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { GuestNode, Report } from '../guest-node.ts';

export type GuestPhase = 'pre-start' | 'post-start' | 'pre-stop' | 'post-stop';

/**
 * Runs the guest's hook script, if it has one. One that fails before the start keeps the guest from starting; at other times it is a warning.
 * @throws (in `pre-start`) `source-failed`, `timed-out`, `aborted`, `bad-argument` (no snippet, or one that others may write to), `not-found`.
 */
export async function runGuestHook(
  node: GuestNode,
  id: GuestId,
  { values }: VmConfig,
  phase: GuestPhase,
  report: Report,
  signal?: AbortSignal,
): Promise<void> {
  const volume = values.get('hookscript');
  if (volume === undefined) return;
  try {
    if (!volume.includes(':snippets/'))
      throw new HoldfastError('bad-argument', `hookscript ${volume} is no snippet of a storage: STORAGE:snippets/NAME`);
    const path = await requireHookScript((await node.storages.volume(volume)).path);
    const log = (line: string): void => report.log(`hookscript ${phase}: ${line}`);
    await runHookScript({
      path,
      args: [String(id), phase],
      environment: { VMID: String(id), VMTYPE: 'qemu' },
      log,
      signal,
    });
  } catch (error) {
    if (phase === 'pre-start' || !(error instanceof HoldfastError)) throw error;
    report.warn(`the guest's hookscript failed in ${phase}: ${error.message}`);
  }
}
