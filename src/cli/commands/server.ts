// holdfast server: runs until it is told to end, and then ends what it has begun. What only it needs is loaded here, not at each start
// of the program.
import { join } from 'node:path';
import type { Command } from 'commander';
import type { OpenGuests } from '../../daemon/guests/open-guests.ts';
import type { Log } from '../../daemon/log.ts';
import type { ServerConfig, ServerOptions } from '../../daemon/server-config.ts';
import type { RunningServer } from '../../server.ts';
import { closeAll } from '../../util/close-all.ts';
import { OPERATIONS } from '../operations.ts';
import { startPool } from '../repository.ts';
import { type LocalAgent, startLocalAgent } from './agent.ts';
import { addServerDatastoreCommands } from './server-datastores.ts';
import { addRestoreStateCommand } from './server-restore.ts';

export function addServerCommand(program: Command): void {
  const server = program
    .command('server')
    .description('run the backup server')
    .option('--config <FILE>', 'a JSON file with what is not given here')
    .option('--state-dir <DIR>', 'users, tasks, certificate; /var/lib/holdfast for root')
    .option('--listen <ADDRESS:PORT>', '127.0.0.1:8007 by default; [::]:8007 for everybody')
    .option('--guest-listen <ADDRESS:PORT>', '127.0.0.1:8006 by default; for clients of Proxmox VE')
    .option('--node-dir <DIR>', 'where this machine keeps its guests; they are served on --guest-listen')
    .option('--bulk-port <PORT>', 'the first port for data, 8008 by default; one for each datastore')
    .option('--certificate <FILE>', 'PEM, with --key; without it the server makes its own')
    .option('--key <FILE>', 'PEM; the key of --certificate')
    .option('--first-datastore <NAME>', 'make a datastore beside the state directory while there is none')
    .option('--local-agent', 'run an agent of this machine in the same process, as node localhost')
    .option('--no-local-agent', 'none, also where the configuration file says localAgent')
    .option('--drain <SECONDS>', 'what running tasks get to end when the server is told to, 60 by default')
    .option('--log-level <LEVEL>', 'fatal, error, warn, info (default), debug, trace or silent')
    .action(async (options: ServerOptions) => await run(options));
  addServerDatastoreCommands(server);
  addRestoreStateCommand(server);
}

async function run(options: ServerOptions): Promise<void> {
  const { serverConfig } = await import('../../daemon/server-config.ts');
  const { createLog } = await import('../../daemon/log.ts');
  const { serverSignals } = await import('../../daemon/signals.ts');
  const { startServer } = await import('../../server.ts');
  const config = serverConfig(options);
  const log = createLog(config.logLevel);
  let reload = async (): Promise<void> => {};
  const signals = serverSignals(() => {
    reload().catch((error: unknown) => log.error({ err: error }, 'the certificate could not be read anew'));
  });
  try {
    const guests = await guestsOf(config, log);
    let agent: LocalAgent | undefined;
    let server: RunningServer | undefined;
    try {
      server = await startServer({ config, log, startPool, operations: OPERATIONS, guests });
      const running = server;
      reload = async () => {
        await running.reload();
        agent?.trust(running.fingerprint());
      };
      if (running.rootPassword !== undefined) await tellPassword(running.rootPassword, config.stateDirectory);
      if (config.localAgent)
        agent = await startLocalAgent(running, config.stateDirectory, log, signals.hurry, config.nodeDirectory);
      const { tellReady } = await import('../../daemon/service-manager.ts');
      await tellReady(log);
      await signals.ending;
    } finally {
      // Each ends, whatever becomes of the others: the watch of guests would keep the process.
      await closeAll([() => guests?.close(), () => agent?.stop(), () => server?.stop(signals.hurry)]);
    }
  } finally {
    signals.stop();
  }
}

/** Undefined for a server without guests, which then loads nothing of them. */
async function guestsOf({ nodeDirectory }: ServerConfig, log: Log): Promise<OpenGuests | undefined> {
  if (nodeDirectory === undefined) return undefined;
  const { openGuests } = await import('../../daemon/guests/open-guests.ts');
  return await openGuests(nodeDirectory, log);
}

/** On a terminal the password is shown; otherwise it would stay in some log, so a file takes it that the server's user alone can read. */
async function tellPassword(password: string, stateDirectory: string): Promise<void> {
  if (process.stdout.isTTY) {
    process.stdout.write(
      `the administrator is root@pam, with the password ${password}\nit is shown this once: change it\n`,
    );
    return;
  }
  const { replacePrivateFile } = await import('../../agent/keys/private-file.ts');
  const path = join(stateDirectory, 'first-password');
  await replacePrivateFile(path, `${password}\n`, "administrator's password");
  process.stderr.write(`the administrator is root@pam; the password is in ${path}: change it, and delete the file\n`);
}
