// A line to the API of a server for commands that administer it. A user with a second factor is asked for it, where there is a terminal.
import { ApiLine } from '../../transport/client/api-line.ts';
import { type Access, findAccess } from '../../transport/client/remotes.ts';
import { parseRepositoryAddress, type RepositoryAddress } from '../../transport/client/repository-address.ts';
import { TrustedLines } from '../../transport/client/trusted-line.ts';
import { openTerminal } from '../ask-terminal.ts';
import type { CommonOptions } from '../repository.ts';

export interface ServerLine {
  readonly line: ApiLine;
  /** The name of the datastore of the address. */
  readonly store: string;
  readonly address: RepositoryAddress;
  readonly access: Access;
}

/** Opens no connection yet. @throws `bad-argument` for a wrong address, or without a secret. */
export async function openLine(options: CommonOptions, repository: string): Promise<ServerLine> {
  const address = parseRepositoryAddress(repository);
  const access = await findAccess(address, { fingerprint: options.fingerprint }, process.env);
  const line = new ApiLine(address, access, new TrustedLines(access.fingerprint), askSecondFactor);
  return { line, store: address.store, address, access };
}

/** Undefined without a terminal. */
async function askSecondFactor(user: string): Promise<string | undefined> {
  const terminal = openTerminal();
  if (terminal === undefined) return undefined;
  try {
    return (await terminal.ask(`Second factor of ${user} (its code, or a recovery code): `, false)).trim();
  } finally {
    terminal.close();
  }
}
