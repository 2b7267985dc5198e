// Chooses where a command of users, tokens, rights, nodes, notifications, jobs and pools works: on the state of this machine, or at a server.
import { isServerAddress } from '../../transport/client/repository-address.ts';
import { HoldfastError } from '../../util/errors.ts';
import { interruptSignal } from '../interrupt.ts';
import type { Administration } from './administration.ts';
import type { JobAdministration } from './job-administration.ts';
import { localAdministration } from './local-administration.ts';
import type { NodeAdministration } from './node-administration.ts';
import type { NotifyAdministration } from './notify-administration.ts';
import type { PoolAdministration } from './pool-administration.ts';
import { type OpenState, type StateOptions, withServerState } from './server-state.ts';

interface Remote {
  close(): Promise<void>;
}

/** Runs `use`: at the server of `--repository https://…`, else on the state of this machine. @throws `bad-argument` when both are named. */
export async function administer<Result>(
  options: StateOptions,
  use: (administration: Administration) => Promise<Result>,
): Promise<Result> {
  return await choose(
    options,
    async (open) => localAdministration(open),
    async (repository, signal) =>
      await (await import('./remote-administration.ts')).remoteAdministration(options, repository, signal),
    use,
  );
}

/** The same for hosts with an agent. */
export async function administerNodes<Result>(
  options: StateOptions,
  use: (administration: NodeAdministration) => Promise<Result>,
): Promise<Result> {
  return await choose(
    options,
    async (open) => await (await import('./local-nodes.ts')).localNodes(open),
    async (repository, signal) => await (await import('./remote-nodes.ts')).remoteNodes(options, repository, signal),
    use,
  );
}

/** The same for notifications. */
export async function administerNotify<Result>(
  options: StateOptions,
  use: (administration: NotifyAdministration) => Promise<Result>,
): Promise<Result> {
  return await choose(
    options,
    async (open) => (await import('./local-notify.ts')).localNotify(open),
    async (repository, signal) => await (await import('./remote-notify.ts')).remoteNotify(options, repository, signal),
    use,
  );
}

/** The same for jobs. */
export async function administerJobs<Result>(
  options: StateOptions,
  use: (administration: JobAdministration) => Promise<Result>,
): Promise<Result> {
  return await choose(
    options,
    async (open) => (await import('./local-jobs.ts')).localJobAdministration(open),
    async (repository, signal) => await (await import('./remote-jobs.ts')).remoteJobs(options, repository, signal),
    use,
  );
}

/** The same for pools. */
export async function administerPools<Result>(
  options: StateOptions,
  use: (administration: PoolAdministration) => Promise<Result>,
): Promise<Result> {
  return await choose(
    options,
    async (open) => (await import('./local-pools.ts')).localPools(open),
    async (repository, signal) => await (await import('./remote-pools.ts')).remotePools(options, repository, signal),
    use,
  );
}

async function choose<Kind, Result>(
  options: StateOptions,
  here: (open: OpenState) => Promise<Kind>,
  there: (repository: string, signal: AbortSignal) => Promise<Kind & Remote>,
  use: (administration: Kind) => Promise<Result>,
): Promise<Result> {
  // Not from the environment: who has a repository there for backups does not mean its server's users.
  const { repository } = options;
  if (repository === undefined) return await withServerState(options, async (open) => await use(await here(open)));
  if (!isServerAddress(repository) || options.stateDir !== undefined)
    throw new HoldfastError(
      'bad-argument',
      'users and rights are those of a server: give --state-dir DIR on its machine, or --repository https://USER@REALM!TOKEN@HOST:PORT/STORE',
    );
  const interrupt = interruptSignal();
  try {
    const remote = await there(repository, interrupt.signal);
    try {
      return await use(remote);
    } finally {
      await remote.close();
    }
  } finally {
    interrupt.stop();
  }
}
