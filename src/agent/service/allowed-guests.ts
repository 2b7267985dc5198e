// Which virtual machines of this host orders may touch: those that its own configuration names, and none without a word.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { AgentConfig } from './agent-config.ts';

type Setting = 'allowGuestBackup' | 'allowGuestRestore';

/** @throws `not-allowed` that names the setting. */
export function requireAllowedGuest(config: Pick<AgentConfig, Setting>, setting: Setting, id: GuestId): void {
  const allowed = config[setting] ?? [];
  if (allowed.includes('all') || allowed.includes(id)) return;
  const verb = setting === 'allowGuestBackup' ? 'backed up' : 'restored';
  throw new HoldfastError(
    'not-allowed',
    `VM ${id} may not be ${verb} on this host: ${setting} in its agent.json names ${allowed.join(', ') || 'nothing'}`,
    { data: { setting } },
  );
}
