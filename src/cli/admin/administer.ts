// Chooses where a command of users, tokens and rights works: on the state of this machine, or at a server.
import { isServerAddress } from '../../transport/client/repository-address.ts';
import { HoldfastError } from '../../util/errors.ts';
import { interruptSignal } from '../interrupt.ts';
import type { Administration } from './administration.ts';
import { localAdministration } from './local-administration.ts';
import { type StateOptions, withServerState } from './server-state.ts';

/** Runs `use`: at the server of `--repository https://…`, else on the state of this machine. @throws `bad-argument` when both are named. */
export async function administer<Result>(
  options: StateOptions,
  use: (administration: Administration) => Promise<Result>,
): Promise<Result> {
  // Not from the environment: who has a repository there for backups does not mean its server's users.
  const { repository } = options;
  if (repository === undefined)
    return await withServerState(options, async (open) => await use(localAdministration(open)));
  if (!isServerAddress(repository) || options.stateDir !== undefined)
    throw new HoldfastError(
      'bad-argument',
      'users and rights are those of a server: give --state-dir DIR on its machine, or --repository https://USER@REALM!TOKEN@HOST:PORT/STORE',
    );
  const { remoteAdministration } = await import('./remote-administration.ts');
  const interrupt = interruptSignal();
  try {
    const remote = await remoteAdministration(options, repository, interrupt.signal);
    try {
      return await use(remote);
    } finally {
      await remote.close();
    }
  } finally {
    interrupt.stop();
  }
}
