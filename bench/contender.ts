// Lets programs do the same job in turn, several times, and takes medians. Contenders of one group alternate, so that a burst of
// other load on the machine hits all of them; ratios are taken within a round and only then the median.
import { execFileSync } from 'node:child_process';
import { addUsage, type Command, measure, type Usage } from './measure.ts';
import { median } from './median.ts';
import { warm } from './workspace.ts';

export interface Contender {
  name: string;
  /** Why it cannot run here, with the apt-get line; its row then says "missing". */
  missing?: string | undefined;
  /** Resets its state before every run; not measured. */
  before?: () => void | Promise<void>;
  /**
   * Files, and directories with all that is in them, that the job reads. They are read before every run, so that each contender finds them in the
   * page cache: some machines take back what nobody touched for a few seconds, and whoever runs last would read from the disk.
   */
  reads?: () => readonly string[];
  /** The job: one process after another. Made anew for each run, after `before`. */
  commands: () => Command[];
  /** Looks at the result after every run: sizes, figures of its own output, proof that the result is right. Throws if it is wrong. */
  after?: (outputs: string[]) => Record<string, number>;
  samplePss?: boolean;
}

export interface Row {
  name: string;
  status: 'ok' | 'missing' | 'failed';
  note?: string;
  commands: string[];
  runs: Usage[];
  median?: Usage;
  /** Medians of what `after` found. */
  extra: Record<string, number>;
}

export type Pick = (usage: Usage) => number;
export const cpu: Pick = (usage) => usage.cpuS;
export const wall: Pick = (usage) => usage.wallS;

/** Runs every contender of the group `rounds` times, alternating. A failure ends that contender's runs and stands in its row. */
export async function race(group: readonly Contender[], rounds: number): Promise<Row[]> {
  const rows = group.map((contender): Row => newRow(contender));
  const found = group.map((): Record<string, number>[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, contender] of group.entries()) {
      const row = rows[index];
      if (row.status !== 'ok') continue;
      console.error(`bench: ${contender.name}, run ${round + 1} of ${rounds}`);
      try {
        found[index].push(await runOnce(contender, row));
      } catch (error) {
        row.status = 'failed';
        row.note = error instanceof Error ? error.message : String(error);
      }
    }
  }
  for (const [index, row] of rows.entries()) {
    if (row.runs.length > 0) row.median = medianUsage(row.runs);
    for (const key of Object.keys(found[index][0] ?? {}))
      row.extra[key] = median(found[index].map((entry) => entry[key]));
  }
  return rows;
}

/** Median over the rounds of `pick(over) / pick(under)`; null when one of them has no result. */
export function ratio(over: Row | undefined, under: Row | undefined, pick: Pick): number | null {
  if (over?.status !== 'ok' || under?.status !== 'ok') return null;
  return median(over.runs.map((usage, round) => pick(usage) / pick(under.runs[round])));
}

/** `row.extra[key]`, or null when the row has no result. */
export function extra(row: Row | undefined, key: string): number | null {
  return row?.status === 'ok' ? (row.extra[key] ?? null) : null;
}

export function divide(over: number | null, under: number | null): number | null {
  return over === null || under === null ? null : over / under;
}

function newRow(contender: Contender): Row {
  const row: Row = { name: contender.name, status: 'ok', commands: [], runs: [], extra: {} };
  return contender.missing === undefined ? row : { ...row, status: 'missing', note: contender.missing };
}

async function runOnce(contender: Contender, row: Row): Promise<Record<string, number>> {
  await contender.before?.();
  // Writes left over from the run before would be paid by this one.
  execFileSync('sync');
  warm(contender.reads?.() ?? []);
  const commands = contender.commands();
  row.commands = commands.map(({ argv }) => argv.join(' '));
  const outputs: string[] = [];
  const usages: Usage[] = [];
  for (const command of commands) {
    const { usage, stdout } = await measure(command, { samplePss: contender.samplePss === true });
    outputs.push(stdout);
    usages.push(usage);
  }
  const figures = contender.after?.(outputs) ?? {};
  row.runs.push(addUsage(usages));
  return figures;
}

function medianUsage(runs: readonly Usage[]): Usage {
  const of = (pick: Pick): number => median(runs.map(pick));
  return {
    wallS: of(wall),
    userS: of((usage) => usage.userS),
    sysS: of((usage) => usage.sysS),
    cpuS: of(cpu),
    peakRssMiB: of((usage) => usage.peakRssMiB),
    ...(runs[0].peakPssMiB !== undefined && { peakPssMiB: of((usage) => usage.peakPssMiB ?? 0) }),
  };
}
