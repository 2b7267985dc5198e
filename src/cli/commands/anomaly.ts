// holdfast anomaly list | clear: groups that are not pruned because a snapshot is unusual, and that somebody has looked.
import type { Command } from 'commander';
import { type AnomalyRow, listAnomalies } from '../../datastore/anomaly/anomalies-query.ts';
import { clearAnomaly } from '../../datastore/anomaly/clear-anomaly.ts';
import { formatTime, parseGroup } from '../../schema/names.ts';
import { ask } from '../open-repository.ts';
import { operate } from '../operate.ts';
import { print, table } from '../output.ts';
import { type CommonOptions, namespaceOf } from '../repository.ts';

export function addAnomalyCommands(program: Command): void {
  const anomaly = program
    .command('anomaly')
    .description('groups whose last snapshots look unusual, as after an attack');
  anomaly
    .command('list')
    .description('groups that are not pruned until somebody has looked at them, also below the namespace')
    .action(async (_, command: Command) => await list(command.optsWithGlobals()));
  anomaly
    .command('clear')
    .description('somebody has looked: prune the group again')
    .argument('<TYPE/ID>')
    .option('--attack', 'it was harm: what was protected stays protected, and so much is not usual')
    .action(
      async (text: string, options: { attack?: boolean }, command: Command) =>
        await clear(text, options.attack === true, command.optsWithGlobals()),
    );
}

async function list(options: CommonOptions): Promise<void> {
  const rows = await ask(options, listAnomalies, { ns: namespaceOf(options) });
  print(options.outputFormat, rows, describe);
}

function describe(rows: readonly AnomalyRow[]): string {
  if (rows.length === 0) return 'nothing unusual';
  return table(
    ['group', 'what is unusual', 'protected'],
    rows.map(({ ns, group, text, protected: times }) => [
      ns === '' ? group : `${ns}: ${group}`,
      text,
      times.map(formatTime).join(' '),
    ]),
  );
}

async function clear(text: string, wasAttack: boolean, options: CommonOptions): Promise<void> {
  const request = { ns: namespaceOf(options), group: parseGroup(text), wasAttack };
  const cleared = await operate(options, 1, clearAnomaly, request);
  print(options.outputFormat, cleared, ({ group, unprotected }) =>
    [`${group} is pruned again`, ...unprotected.map((snapshot) => `no longer protected: ${snapshot}`)].join('\n'),
  );
}
