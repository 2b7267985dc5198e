// holdfast acl list | set | delete, holdfast role list: who has which role on which path.
import type { Command } from 'commander';
import type { AclChange } from '../../auth/acl-changes.ts';
import { ROLES, type RoleName } from '../../auth/privileges.ts';
import { parseAuthId } from '../../schema/auth-id.ts';
import { administer } from '../admin/administer.ts';
import { STATE_DIR_OPTION, type StateOptions } from '../admin/server-state.ts';
import { print, table } from '../output.ts';
import type { CommonOptions } from '../repository.ts';

interface AclOptions extends StateOptions {
  readonly authId: string;
  /** False with `--no-propagate`. */
  readonly propagate?: boolean;
}

export function addAclCommands(program: Command): void {
  const acl = program.command('acl').description('rights: who has which role on which path');
  const command = (name: string, description: string): Command =>
    acl
      .command(name)
      .description(description)
      .option(...STATE_DIR_OPTION);
  const change = (name: string, description: string): Command =>
    command(name, description)
      .argument(
        '<PATH>',
        '/, /datastore/STORE, /datastore/STORE/NAMESPACE, /vms/VMID, /storage/STORAGE, /pool/POOL, /access, /system …',
      )
      .argument('<ROLE>', 'see holdfast role list')
      .requiredOption('--auth-id <ID>', 'a user, or a token USER@REALM!TOKEN');
  const options = (each: Command): AclOptions => each.optsWithGlobals();
  command('list', 'all entries, or those at a path and below it')
    .argument('[PATH]')
    .action(async (path: string | undefined, _, each: Command) => await list(path, options(each)));
  change('set', 'give a role on a path')
    .option('--no-propagate', 'on the path alone, not below it')
    .action(async (path: string, role: string, _, each: Command) => await set(path, role, options(each), false));
  change('delete', 'take a role on a path away').action(
    async (path: string, role: string, _, each: Command) => await set(path, role, options(each), true),
  );
  program
    .command('role')
    .description('what users and tokens may be')
    .command('list')
    .description('all roles with their privileges')
    .action((_, each: Command) => listRoles(each.optsWithGlobals()));
}

async function list(path: string | undefined, options: AclOptions): Promise<void> {
  const entries = await administer(options, async (administration) => await administration.listAcl(path));
  print(options.outputFormat, entries, (all) =>
    table(
      ['path', 'user or token', 'role', 'below too'],
      all.map(({ path: where, authId, role, propagate }) => [where, authId, role, propagate ? 'yes' : 'no']),
    ),
  );
}

async function set(path: string, role: string, options: AclOptions, isDelete: boolean): Promise<void> {
  const authId = parseAuthId(options.authId);
  const propagate = options.propagate ?? true;
  const change: AclChange = { path, role, authId, ...(isDelete ? { delete: true } : { propagate }) };
  await administer(options, async (administration) => await administration.changeAcl(change));
  print(options.outputFormat, change, () =>
    isDelete ? `${authId} has not ${role} on ${path} any more` : `${authId} is ${role} on ${path}`,
  );
}

function listRoles({ outputFormat }: CommonOptions): void {
  const roles = (Object.keys(ROLES) as RoleName[]).map((role) => ({ role, privileges: ROLES[role] }));
  print(outputFormat, roles, (all) =>
    table(
      ['role', 'privileges'],
      all.map(({ role, privileges }) => [role, privileges.join(' ')]),
    ),
  );
}
