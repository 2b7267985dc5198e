// The server's state as commands on its own machine use it: directly, also while a server runs, which notices changes by itself. Whoever may
// write there is root@pam. The parts are loaded when they are needed, not at each start of the program.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Access } from '../../auth/access.ts';
import type { AccessServices, AccessStores } from '../../auth/access-services.ts';
import type { Actor } from '../../auth/audit-log.ts';
import { ROOT_USER } from '../../schema/auth-id.ts';
import type { StateDatabase } from '../../state/state-database.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { CommonOptions } from '../repository.ts';

export interface StateOptions extends CommonOptions {
  readonly stateDir?: string;
}

export const STATE_DIR_OPTION = ['--state-dir <DIR>', "the server's; /var/lib/holdfast for root"] as const;

export interface OpenState {
  readonly directory: string;
  readonly state: StateDatabase;
  readonly stores: AccessStores;
  readonly access: Access;
  readonly services: AccessServices;
  /** root@pam at no address, as the audit log shows the command line. */
  readonly actor: Actor;
}

/**
 * Opens the state, runs `use` with it and closes it.
 * @throws `not-found` where no server has ever run, `datastore-newer`, `datastore-read-only`, `datastore-damaged`.
 */
export async function withServerState<Result>(
  options: StateOptions,
  use: (open: OpenState) => Result | Promise<Result>,
): Promise<Result> {
  const { defaultStateDirectory } = await import('../../daemon/state-directory.ts');
  const directory = resolve(options.stateDir ?? defaultStateDirectory());
  const path = join(directory, 'state.db');
  if (!existsSync(path)) throw noServer(directory);
  const { StateDatabase } = await import('../../state/state-database.ts');
  const { authTables } = await import('../../state/auth-tables.ts');
  const { accessServices } = await import('../../auth/access-services.ts');
  const state = StateDatabase.open(path);
  try {
    const stores = authTables(state);
    if (stores.users.find(ROOT_USER) === undefined) throw noServer(directory);
    const services = accessServices(stores);
    const { access } = services;
    return await use({ directory, state, stores, access, services, actor: { authId: ROOT_USER, address: '' } });
  } finally {
    state.close();
  }
}

function noServer(directory: string): HoldfastError {
  return new HoldfastError(
    'not-found',
    `no server has kept its state in ${directory}, or this user may not look: start one with holdfast server --state-dir ${directory}, or name the right directory with --state-dir`,
  );
}
