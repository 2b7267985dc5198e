// Jobs on the server's machine, as root@pam. A server that runs sees each change within seconds.
import { FAILED_STATES, localJobs } from '../../daemon/jobs/server-jobs.ts';
import type { JobAdministration } from './job-administration.ts';
import type { OpenState } from './server-state.ts';

export function localJobAdministration({ state, stores, actor }: OpenState): JobAdministration {
  const desk = localJobs({ state, audit: stores.audit, clock: Date.now });
  return {
    list: async (kind) => desk.list(kind),
    create: async (wish) => desk.create(actor, wish),
    amend: async (key, change) => desk.amend(actor, key, change),
    remove: async (key) => desk.remove(actor, key),
    run: async (key) => desk.run(key, actor.authId),
    history: async ({ failed, ...filter }) =>
      desk.history({ ...filter, ...(failed && { states: FAILED_STATES }) }).rows,
  };
}
