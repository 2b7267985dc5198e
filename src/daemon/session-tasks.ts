// Backups and restores of clients in the list of tasks: each session is one, from its opening to its end. Whoever aborts the task ends the
// session; a server that is told to end waits for them like for any other task.
import type { Tasks } from '../jobs/tasks/tasks.ts';
import { formatTime } from '../schema/names.ts';
import type { SessionWatcher } from '../transport/server/sessions.ts';
import { HoldfastError } from '../util/errors.ts';

/** Proxmox's names of such tasks. */
const TYPES = { backup: 'backup', read: 'reader' } as const;

export function sessionTasks(tasks: Pick<Tasks, 'start'>): SessionWatcher {
  return ({ place, isBackup, over }, end) => {
    const { served, ns, group, authId } = place;
    const where = ns === '' ? group : `${ns}/${group}`;
    const type = isBackup ? TYPES.backup : TYPES.read;
    tasks.start({ type, id: `${served.name}:${where}`, authId }, async (task) => {
      task.log(`${isBackup ? 'backup' : 'restore'} of ${where} by ${authId}`);
      const stop = (): void => {
        end().catch((error: Error) => task.log(`ending the session failed: ${error.message}`));
      };
      task.signal.addEventListener('abort', stop, { once: true });
      const committed = await over;
      task.signal.throwIfAborted();
      if (!isBackup) return undefined;
      if (committed === undefined)
        throw new HoldfastError(
          'aborted',
          'the session ended without a snapshot; what was stored stays for the next backup of the group',
        );
      for (const warning of committed.warnings) task.warn(warning);
      const { client, server } = committed.manifest;
      const snapshot = `${group}/${formatTime(server.time)}`;
      task.log(`made snapshot ${snapshot}`);
      const { bytesLogical, bytesRead, bytesNew } = client.statistics;
      return { data: { snapshot, bytesLogical, bytesRead, bytesNew, bytesStored: server.bytesStored } };
    });
  };
}
