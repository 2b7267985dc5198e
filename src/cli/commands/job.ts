// holdfast job: what a server does by a schedule. On the server's machine, where a server that runs sees each change within seconds, or from afar.
import type { Command } from 'commander';
import type { JobKey, JobRun, JobView, NewJob } from '../../daemon/jobs/server-jobs.ts';
import { KEEP_RULES } from '../../datastore/prune/keep-rules.ts';
import { parseGuestId } from '../../schema/guest-names.ts';
import { parseDurationMs } from '../../util/duration.ts';
import { HoldfastError } from '../../util/errors.ts';
import { yesOrNo } from '../admin/account-options.ts';
import { administerJobs } from '../admin/administer.ts';
import type { JobAdministration } from '../admin/job-administration.ts';
import { STATE_DIR_OPTION, type StateOptions, withServerState } from '../admin/server-state.ts';
import { localText } from '../local-text.ts';
import { formatDuration, pairs, print, table } from '../output.ts';
import { wholeNumber } from '../whole-number.ts';
import { dryRunJob } from './job-dry-run.ts';

const MAX_SHOWN = 1000;

interface JobOptions extends StateOptions {
  readonly schedule?: string;
  readonly enable?: string;
  readonly comment?: string;
  readonly retries?: string;
  readonly retryDelay?: string;
  readonly timeout?: string;
  readonly store?: string;
  readonly node?: string;
  readonly group?: string[];
  readonly excludeGroup?: string[];
  readonly archive?: string[];
  readonly vm?: string[];
  readonly all?: boolean;
  readonly pool?: string;
  readonly exclude?: string[];
  readonly tag?: string[];
  readonly maxDepth?: string;
  readonly ignoreVerified?: string;
  readonly outdatedAfter?: string;
  readonly set?: string[];
  readonly unset?: string[];
  readonly kind?: string;
  readonly limit?: string;
  readonly failed?: boolean;
  readonly count?: string;
  readonly dryRun?: boolean;
  readonly explain?: boolean;
  /** Commander's names of the rules: `keepLast` and so on. */
  readonly [keep: `keep${string}`]: string | undefined;
}

export function addJobCommands(program: Command): void {
  const job = program
    .command('job')
    .description('what the server does by a schedule: vzdump, backup, prune, gc, verify');
  const command = (name: string, description: string): Command =>
    job
      .command(name)
      .description(description)
      .option(...STATE_DIR_OPTION);
  addFields(command('create', 'a new job; it begins with its next slot'))
    .argument('<KIND>', 'vzdump, backup, prune, gc or verify')
    .argument('<ID>')
    .action(async (kind: string, id: string, _, each: Command) => await create(kind, id, each.optsWithGlobals()));
  addFields(command('update', 'change a job; a run that is under way ends with what it began with'))
    .argument('<JOB>', 'ID, or KIND/ID')
    .option('--unset <NAME...>', 'take options away, such as keep-last; schedule leaves the job to be run by hand')
    .action(async (ref: string, _, each: Command) => await update(ref, each.optsWithGlobals()));
  command('list', 'jobs with their next and last run')
    .option('--kind <KIND>', 'only of this kind')
    .action(async (_, each: Command) => await list(each.optsWithGlobals()));
  command('show', 'one job')
    .argument('<JOB>', 'ID, or KIND/ID')
    .action(async (ref: string, _, each: Command) => await show(ref, each.optsWithGlobals()));
  command('remove', 'remove a job; its history stays')
    .argument('<JOB>', 'ID, or KIND/ID')
    .action(async (ref: string, _, each: Command) => await remove(ref, each.optsWithGlobals()));
  command('run', 'have the server run a job now')
    .argument('<JOB>', 'ID, or KIND/ID')
    .option('--dry-run', 'prune: print what it would remove, and remove nothing')
    .option('--explain', 'with --dry-run: why each snapshot stays or goes')
    .action(async (ref: string, _, each: Command) => await run(ref, each.optsWithGlobals()));
  command('history', 'runs, the newest first')
    .argument('[JOB]', 'ID, or KIND/ID')
    .option('--limit <N>', `so many, ${MAX_SHOWN} at most`, '50')
    .option('--failed', 'only those that did not end well')
    .action(async (ref: string | undefined, _, each: Command) => await history(ref, each.optsWithGlobals()));
  command('next', 'what runs next, of all jobs')
    .option('--limit <N>', `so many, ${MAX_SHOWN} at most`, '20')
    .action(async (_, each: Command) => await next(each.optsWithGlobals()));
  job
    .command('analyze')
    .description('when a schedule runs next, in the time of this machine and in UTC')
    .argument('<SCHEDULE>', 'a calendar event, such as "mon..fri 02:30"')
    .option('--count <N>', `so many, ${MAX_SHOWN} at most`, '10')
    .action(async (schedule: string, _, each: Command) => await analyze(schedule, each.optsWithGlobals()));
}

function addFields(command: Command): Command {
  command
    .option('--schedule <EVENT>', 'a calendar event, such as 02:00 or "sat 18:15"; without one it is run by hand')
    .option('--enable <YES|NO>', 'no keeps the job, and does not run it by its schedule')
    .option('--comment <TEXT>')
    .option('--retries <N>', 'how often a run that failed is tried again; 0 without it')
    .option('--retry-delay <TIME>', 'before the first of them, each further one waits twice as long; 5min without it')
    .option('--timeout <TIME>', 'a run that takes longer is aborted; 24h without it')
    .option('--store <DATASTORE>')
    .option('--node <NODE>', 'backup, vzdump: the host whose agent backs up')
    .option('--vm <VMID...>', 'vzdump: its virtual machines that are backed up')
    .option('--all', 'vzdump: all of them, of the machine of the server')
    .option('--pool <POOL>', 'vzdump: those that are in this pool when it runs')
    .option('--exclude <VMID...>', 'vzdump: all, or all of the pool, but these')
    .option('--tag <TAG...>', 'vzdump: of all those that have one of these tags')
    .option('--group <TYPE/ID...>', 'backup: where the snapshots go; prune: only these groups')
    .option('--exclude-group <TYPE/ID...>', 'prune: all groups but these')
    .option('--archive <ARCHIVE:PATH...>', 'backup: what is backed up, as holdfast backup takes it')
    .option('--max-depth <N>', 'prune, verify: namespaces so many parts below --ns are looked at')
    .option('--ignore-verified <YES|NO>', 'verify: leave out what was read and found whole; yes without it')
    .option('--outdated-after <DAYS>', 'verify: but not when that was so many days ago')
    .option('--set <NAME=VALUE...>', 'another option of the kind; VALUE may be JSON');
  for (const rule of KEEP_RULES)
    command.option(
      `--${rule} <N>`,
      'prune, vzdump: as holdfast prune has it; vzdump applies it to each guest after its backup',
    );
  return command;
}

/** What was given of what all jobs have. */
function fieldsOf(options: JobOptions): Partial<NewJob> {
  const { schedule, enable, comment, retries, retryDelay, timeout } = options;
  return {
    ...(schedule !== undefined && { schedule }),
    ...(enable !== undefined && { enabled: yesOrNo('--enable', enable) }),
    ...(comment !== undefined && { comment }),
    ...(retries !== undefined && { retries: wholeNumber('--retries', retries, 0, 20) }),
    ...(retryDelay !== undefined && { retryDelayMs: parseDurationMs(retryDelay, '--retry-delay') }),
    ...(timeout !== undefined && { timeoutMs: parseDurationMs(timeout, '--timeout') }),
  };
}

/** What was given of what only some kinds have. */
function kindOptions(kind: string, options: JobOptions & { readonly ns?: string }): Record<string, unknown> {
  const { store, ns, node, group, archive, maxDepth, ignoreVerified, outdatedAfter, set = [] } = options;
  const { vm, all, pool, exclude, tag, excludeGroup } = options;
  const found: Record<string, unknown> = {
    ...(store !== undefined && { store }),
    ...(ns !== undefined && { ns }),
    ...(node !== undefined && { node }),
    ...(group !== undefined && (kind === 'prune' ? { groups: group } : { group: onlyOne('--group', group) })),
    ...(excludeGroup !== undefined && { 'exclude-groups': excludeGroup }),
    ...(archive !== undefined && { archives: archive }),
    ...(vm !== undefined && { vmid: vm.map((each) => parseGuestId(each)) }),
    ...((all === true || tag !== undefined) && { all: true }),
    ...(pool !== undefined && { pool }),
    ...(tag !== undefined && { tags: tag }),
    ...(exclude !== undefined && { exclude: exclude.map((each) => parseGuestId(each)) }),
    ...(maxDepth !== undefined && { 'max-depth': wholeNumber('--max-depth', maxDepth, 0, 7) }),
    ...(ignoreVerified !== undefined && { 'ignore-verified': yesOrNo('--ignore-verified', ignoreVerified) }),
    ...(outdatedAfter !== undefined && {
      'outdated-after': wholeNumber('--outdated-after', outdatedAfter, 0, 100_000),
    }),
  };
  for (const rule of KEEP_RULES) {
    const [, period = ''] = rule.split('-');
    const count = options[`keep${period[0]?.toUpperCase()}${period.slice(1)}`];
    if (count !== undefined) found[rule] = wholeNumber(`--${rule}`, count, 1, 1_000_000);
  }
  for (const each of set) {
    const at = each.indexOf('=');
    if (at < 1) throw new HoldfastError('bad-argument', `--set takes NAME=VALUE, not ${JSON.stringify(each)}`);
    found[each.slice(0, at)] = jsonOrText(each.slice(at + 1));
  }
  return found;
}

function onlyOne(option: string, given: readonly string[]): string {
  const [first = ''] = given;
  if (given.length === 1) return first;
  throw new HoldfastError('bad-argument', `${option} takes one group here, not ${given.length}`);
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** @throws `not-found`; `bad-argument` for an id that jobs of several kinds have. */
async function keyOf(jobs: JobAdministration, ref: string): Promise<JobKey> {
  const [kind, id] = ref.includes('/') ? [ref.slice(0, ref.indexOf('/')), ref.slice(ref.indexOf('/') + 1)] : [];
  if (kind !== undefined && id !== undefined) return { kind, id };
  const found = (await jobs.list()).filter((job) => job.id === ref);
  const [first] = found;
  if (first === undefined) throw new HoldfastError('not-found', `there is no job ${JSON.stringify(ref)}`);
  if (found.length === 1) return { kind: first.kind, id: first.id };
  const refs = found.map((job) => `${job.kind}/${job.id}`).join(', ');
  throw new HoldfastError('bad-argument', `several jobs are called ${ref}: say which one, ${refs}`);
}

/** @throws as `keyOf`. */
async function jobOf(jobs: JobAdministration, ref: string): Promise<JobView> {
  const { kind, id } = await keyOf(jobs, ref);
  const found = (await jobs.list(kind)).find((each) => each.id === id);
  if (found === undefined) throw new HoldfastError('not-found', `there is no job ${kind}/${id}`);
  return found;
}

async function create(kind: string, id: string, options: JobOptions): Promise<void> {
  const wish: NewJob = { ...fieldsOf(options), kind, id, options: kindOptions(kind, options) };
  const made = await administerJobs(options, async (jobs) => await jobs.create(wish));
  print(options.outputFormat, shown(made), () => described(made));
}

async function update(ref: string, options: JobOptions): Promise<void> {
  const made = await administerJobs(options, async (jobs) => {
    const key = await keyOf(jobs, ref);
    // By the names of the options too.
    const unset = (options.unset ?? []).map((name) => (key.kind === 'prune' ? name.replace(/group$/, 'groups') : name));
    return await jobs.amend(key, { ...fieldsOf(options), set: kindOptions(key.kind, options), unset });
  });
  print(options.outputFormat, shown(made), () => described(made));
}

async function list(options: JobOptions): Promise<void> {
  const jobs = await administerJobs(options, async (each) => await each.list(options.kind));
  print(options.outputFormat, jobs.map(shown), () =>
    table(
      ['job', 'schedule', 'next run', 'last run', 'state', 'comment'],
      jobs.map((job) => [
        `${job.kind}/${job.id}`,
        job.enabled ? (job.schedule ?? 'by hand') : 'disabled',
        timeText(job.nextMs),
        timeText(job.last?.endMs),
        job.active === undefined ? (job.last?.state ?? '') : job.active.state,
        job.comment,
      ]),
    ),
  );
}

async function show(ref: string, options: JobOptions): Promise<void> {
  const job = await administerJobs(options, async (jobs) => await jobOf(jobs, ref));
  print(options.outputFormat, shown(job), () => described(job));
}

async function remove(ref: string, options: JobOptions): Promise<void> {
  const key = await administerJobs(options, async (jobs) => {
    const found = await keyOf(jobs, ref);
    await jobs.remove(found);
    return found;
  });
  print(options.outputFormat, { ...key, removed: true }, () => `removed job ${key.kind}/${key.id}`);
}

async function run(ref: string, options: JobOptions): Promise<void> {
  if (options.dryRun === true) return await dryRun(ref, options);
  if (options.explain === true) throw new HoldfastError('bad-argument', '--explain is for --dry-run: give both');
  const { upid, ...key } = await administerJobs(options, async (jobs) => {
    const found = await keyOf(jobs, ref);
    return { ...found, upid: await jobs.run(found) };
  });
  const name = `${key.kind}/${key.id}`;
  const when = upid === undefined ? 'runs as soon as a server runs here' : `runs in task ${upid}`;
  const told = `job ${name} ${when}; see holdfast job history ${name}`;
  print(options.outputFormat, { ...key, requested: true, ...(upid !== undefined && { upid }) }, () => told);
}

async function dryRun(ref: string, options: JobOptions): Promise<void> {
  if (options.repository !== undefined)
    throw new HoldfastError(
      'bad-argument',
      "a dry run is made on the server's machine: leave --repository away, and give --state-dir DIR where the state is elsewhere",
    );
  await withServerState(options, async (open) => {
    const { localJobAdministration } = await import('../admin/local-jobs.ts');
    await dryRunJob(await jobOf(localJobAdministration(open), ref), open.state, options);
  });
}

async function history(ref: string | undefined, options: JobOptions): Promise<void> {
  const limit = wholeNumber('--limit', options.limit ?? '50', 1, MAX_SHOWN);
  const rows = await administerJobs(options, async (jobs) => {
    const key = ref === undefined ? {} : await keyOf(jobs, ref);
    return await jobs.history({ ...key, limit, failed: options.failed === true });
  });
  print(options.outputFormat, rows.map(shownRun), () =>
    table(
      ['run', 'job', 'why', 'slot', 'started', 'took', 'state', 'message'],
      rows.map((each) => [
        String(each.number),
        `${each.kind}/${each.id}`,
        each.reason,
        timeText(each.slotMs),
        timeText(each.startMs),
        each.startMs === null || each.endMs === null ? '' : formatDuration(Math.max(0, each.endMs - each.startMs)),
        each.state,
        each.message,
      ]),
      new Set(['run']),
    ),
  );
}

async function next(options: JobOptions): Promise<void> {
  const limit = wholeNumber('--limit', options.limit ?? '20', 1, MAX_SHOWN);
  const jobs = await administerJobs(options, async (each) => await each.list());
  const coming = jobs
    .flatMap(({ kind, id, nextMs }) => (nextMs === undefined ? [] : [{ job: `${kind}/${id}`, nextMs }]))
    .sort((a, b) => a.nextMs - b.nextMs)
    .slice(0, limit)
    .map(({ job, nextMs }) => ({ job, 'next-run': seconds(nextMs) }));
  print(options.outputFormat, coming, () =>
    table(
      ['next run', 'in UTC', 'job'],
      coming.map((each) => [...bothTimes(each['next-run'] * 1000), each.job]),
    ),
  );
}

/** Needs no state: a schedule means the same everywhere, in the time zone of the machine. */
async function analyze(schedule: string, options: JobOptions): Promise<void> {
  const count = wholeNumber('--count', options.count ?? '10', 1, MAX_SHOWN);
  const { analyzeSchedule } = await import('../../daemon/jobs/server-jobs.ts');
  const { zone, slots } = analyzeSchedule(schedule, count, Date.now());
  const rows = slots.map((ms) => ({ timestamp: seconds(ms), local: localText(ms), utc: new Date(ms).toISOString() }));
  print(options.outputFormat, { schedule, zone, runs: rows }, () =>
    rows.length === 0
      ? `${schedule} never runs`
      : table(
          [`in ${zone}`, 'in UTC'],
          slots.map((ms) => bothTimes(ms)),
        ),
  );
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}

function bothTimes(ms: number): [string, string] {
  return [localText(ms), new Date(ms).toISOString().replace('.000', '')];
}

function timeText(ms: number | null | undefined): string {
  return ms === null || ms === undefined ? '' : localText(ms);
}

function shownRun(run: JobRun): Record<string, unknown> {
  const { number, kind, id, reason, state, attempt, upid, message } = run;
  const times = { slot: run.slotMs, queued: run.queuedMs, started: run.startMs, ended: run.endMs };
  const known = Object.entries(times).flatMap(([name, ms]) => (ms === null ? [] : [[name, seconds(ms)]]));
  return { number, kind, id, reason, state, attempt, by: run.authId, upid, message, ...Object.fromEntries(known) };
}

function shown(job: JobView): Record<string, unknown> {
  const { kind, id, schedule, enabled, comment, options, retries, retryDelayMs, timeoutMs, nextMs, last, active } = job;
  return {
    ...{ kind, id, schedule, enabled, comment, options, retries },
    'retry-delay': seconds(retryDelayMs),
    timeout: seconds(timeoutMs),
    ...(nextMs !== undefined && { 'next-run': seconds(nextMs) }),
    ...(last !== undefined && { last: shownRun(last) }),
    ...(active !== undefined && { active: shownRun(active) }),
  };
}

function described(job: JobView): string {
  const { last, active } = job;
  return pairs([
    ['job', `${job.kind}/${job.id}`],
    ['schedule', job.schedule ?? 'by hand'],
    ['enabled', job.enabled ? 'yes' : 'no'],
    ['comment', job.comment],
    ...Object.entries(job.options).map(
      ([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)] as const,
    ),
    ['retries', `${job.retries}, the first after ${formatDuration(job.retryDelayMs)}`],
    ['time-out', formatDuration(job.timeoutMs)],
    ['next run', timeText(job.nextMs)],
    ['last run', last === undefined ? '' : `${timeText(last.endMs)}: ${last.state} ${last.message}`],
    ...(active === undefined ? [] : [['now', active.state] as const]),
  ]);
}
