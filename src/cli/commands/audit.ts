// holdfast audit list: who changed what at a server, and which sign-ins failed.
import { type Command, Option } from 'commander';
import { AUDIT_ACTIONS, AUDIT_PAGE, type AuditAction } from '../../auth/audit-log.ts';
import { formatTime } from '../../schema/names.ts';
import { administer } from '../admin/administer.ts';
import type { AuditView } from '../admin/administration.ts';
import { STATE_DIR_OPTION, type StateOptions } from '../admin/server-state.ts';
import { print, table } from '../output.ts';
import { wholeNumber } from '../whole-number.ts';

interface AuditOptions extends StateOptions {
  readonly limit: string;
  readonly before?: string;
  readonly action?: AuditAction;
  readonly by?: string;
}

export function addAuditCommands(program: Command): void {
  program
    .command('audit')
    .description('the audit log: who changed what, and which sign-ins failed')
    .command('list')
    .description('entries, the newest first')
    .option('--limit <N>', `so many entries, ${AUDIT_PAGE.most} at most`, String(AUDIT_PAGE.usual))
    .option('--before <ID>', 'only entries older than this one: with the last id of a list, those that follow')
    .addOption(new Option('--action <ACTION>', 'only of what was done').choices(AUDIT_ACTIONS))
    .option('--by <WHO>', 'only of what this user or token did, or who tried to sign in as it')
    .option(...STATE_DIR_OPTION)
    .action(async (_, each: Command) => await list(each.optsWithGlobals()));
}

async function list({ limit, before, action, by, ...options }: AuditOptions): Promise<void> {
  const query = {
    limit: wholeNumber('--limit', limit, 1, AUDIT_PAGE.most),
    ...(before !== undefined && { before: wholeNumber('--before', before, 1, Number.MAX_SAFE_INTEGER) }),
    ...(action !== undefined && { action }),
    ...(by !== undefined && { by }),
  };
  const entries = await administer(options, async (administration) => await administration.listAudit(query));
  print(options.outputFormat, entries, (all) =>
    table(['id', 'time', 'action', 'by', 'address', 'object', 'detail'], all.map(rowOf), new Set(['id'])),
  );
}

function rowOf({ id, time, action, by, address, object, detail }: AuditView): string[] {
  const details = Object.entries(detail ?? {}).map(([name, value]) => `${name}=${shown(value)}`);
  return [String(id), formatTime(time), action, by, address, object, details.join(' ')];
}

/** Without spaces and line breaks: an entry must not look like two. */
function shown(value: NonNullable<AuditView['detail']>[string]): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  const text = Array.isArray(value) ? value.join(',') : String(value);
  return /^[^\s\p{C}"]*$/u.test(text) ? text : JSON.stringify(value);
}
