// The part of the demo about what a server does by itself: a night of jobs and the mail about it, then two nights without the server, which are made
// up for once, and the alarm on a guest that nobody backs up any more. `tools` are what scripts/demo.mjs shows and runs things with. Nights come by
// libfaketime, which tells our programs another time; without it the jobs are run by hand, and no night is missed.
import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openMailbox } from './demo-mail.mjs';

const MIB = 1024 * 1024;
/** Not what guests of this host would have. */
const SMALL_ID = '9203';
const FORGOTTEN_ID = '9204';
const SMALL_MIB = 64;
const START_MS = 30_000;
const RUNS_MS = 300_000;
const MAIL_MS = 30_000;
const POLL_MS = 500;
const AGAIN_MS = 2000;
/** The scheduler looks at each minute; a server has begun by then. */
const BEFORE_MINUTE_MS = 6000;
const DAY_MS = 24 * 3600 * 1000;
const STORE = 'main';
const JOBS = ['vzdump/guests', 'backup/web', 'prune/nightly', 'gc/main', 'verify/nightly'];
/** Tasks of the jobs, as the digest names them. */
const TASKS = ['vzdump main:localhost:guests', 'backupjob main:localhost:web', 'prunejob main:nightly', 'garbage_collection main', 'verificationjob main:nightly'];

/** `guest` is a virtual machine of the demo that runs; without one a small one is made. */
export async function night(tools, guest) {
  const { heading, say, run } = tools;
  heading('A night: what a server does by its schedule, and the mail about it');
  if ((await run('qemu-system-x86_64', ['--version'], { quiet: true }).catch(() => undefined)) === undefined) {
    say('left out: QEMU is not installed. Type: sudo apt-get install -y qemu-system-x86 qemu-utils');
    return;
  }
  const mailbox = await openMailbox();
  const clock = await openClock(tools);
  const on = { ...tools, mailbox, clock, state: join(tools.work, 'night'), node: join(tools.work, 'node'), server: undefined };
  try {
    await prepare(on, guest);
    await firstNight(on);
    if (clock.isThere) await missedNights(on);
    else say(`two missed nights are left out: ${clock.missing}`);
  } finally {
    await on.server?.stop();
    clock.back();
    await mailbox.close();
  }
}

/** The time that programs of ours see from now on. All of them see the same, for it is the true one and as much again. */
async function openClock({ run, environment }) {
  const { stdout, code } = await run('faketime', ['-f', '+0s', 'printenv', 'LD_PRELOAD'], { quiet: true }).catch(() => ({ code: 1 }));
  let aheadMs = 0;
  const set = (variables) => Object.assign(environment, variables);
  const none = { LD_PRELOAD: process.env.LD_PRELOAD ?? '', FAKETIME: '' };
  return {
    isThere: code === 0,
    missing: 'libfaketime is not installed. Type: sudo apt-get install -y faketime',
    now: () => Date.now() + aheadMs,
    /** Forwards only: what was signed and dated before is good then. */
    goTo: (ms) => {
      aheadMs = Math.round((ms - Date.now()) / 1000) * 1000;
      set({ LD_PRELOAD: stdout.trim(), FAKETIME: `+${aheadMs / 1000}s`, FAKETIME_DONT_FAKE_MONOTONIC: '1' });
    },
    back: () => {
      aheadMs = 0;
      set(none);
    },
  };
}

/** Local time, as schedules have it. */
function at(ms, hours, minutes, daysLater = 0) {
  const time = new Date(ms);
  time.setDate(time.getDate() + daysLater);
  time.setHours(hours, minutes, 0, 0);
  return time.getTime();
}

function stamp(ms) {
  return new Date(ms).toLocaleString('sv').slice(0, 16);
}

/** A command on the server's machine, shown as one would type it; its output, or what it says as JSON. */
async function command({ holdfast, run, state, say }, args, { isShown = true, isJson = false } = {}) {
  if (isShown) say(`$ holdfast ${args.map((arg) => (/^[\w./:=@-]+$/.test(arg) ? arg : `'${arg}'`)).join(' ')}`);
  const { stdout } = await run(process.execPath, [...holdfast.program, ...args, '--state-dir', state, ...(isJson ? ['--output-format', 'json'] : [])]);
  return isJson ? JSON.parse(stdout) : stdout.trimEnd();
}

function show({ say }, text) {
  for (const line of text.split('\n')) say(`    ${line}`);
}

function showMail({ say }, { from, to, subject, text }) {
  for (const line of [`From: ${from}`, `To: ${to.join(', ')}`, `Subject: ${subject}`, '', ...text.split('\n')]) say(`  | ${line}`.trimEnd());
}

async function startServer(on) {
  const { start, state, node } = on;
  // Its own state it backs up some minutes after a start, too late for this.
  const config = join(on.work, 'night.json');
  writeFileSync(config, JSON.stringify({ stateDatastore: null }));
  const ports = ['--listen', '127.0.0.1:0', '--guest-listen', '127.0.0.1:0', '--bulk-port', '0'];
  on.server = start(['server', '--config', config, '--state-dir', state, '--node-dir', node, '--local-agent', '--first-datastore', STORE, '--drain', '20', ...ports]);
  await on.server.says('the agent is connected', START_MS);
}

async function stopServer(on) {
  const { server } = on;
  on.server = undefined;
  await server.stop();
}

/** By day: guests, mail, jobs. */
async function prepare(on, guest) {
  const { say, check, work, mailbox } = on;
  const web = join(work, 'web');
  mkdirSync(web);
  for (const name of ['docs', 'src', 'test']) cpSync(new URL(`../${name}`, import.meta.url), join(web, name), { recursive: true });
  on.guest = guest ?? (await smallGuest(on, SMALL_ID));
  await smallGuest(on, FORGOTTEN_ID);
  if (guest === undefined) {
    await vm(on, ['start', SMALL_ID, '--no-watch']);
    say(`VM ${SMALL_ID} runs: without a system, its disk of ${SMALL_MIB} MiB written by us. The whole demo has the Debian guest here`);
  } else say(`VM ${guest} is the Debian guest of before, which runs and writes`);
  say(`VM ${FORGOTTEN_ID} is small and switched off`);
  await startServer(on);
  say(`a mail server listens at 127.0.0.1:${mailbox.port}, and the server with its datastore runs`);
  await command(on, ['notify', 'target', 'add-smtp', 'mail', '--server', '127.0.0.1', '--port', String(mailbox.port), '--tls', 'none', '--from', 'backup@example.com', '--mailto', 'admin@example.com']);
  await command(on, ['notify', 'target', 'test', 'mail']);
  check(mailbox.mails.length === 1 && mailbox.mails[0].subject === 'Test notification', 'the test has arrived');
  const every = ['--schedule', '21:00'];
  await command(on, ['job', 'create', 'vzdump', 'guests', '--node', 'localhost', '--store', STORE, '--all', ...every]);
  await command(on, ['job', 'create', 'backup', 'web', '--node', 'localhost', '--store', STORE, '--group', 'host/web', '--archive', `root.tree:${web}`, ...every]);
  await command(on, ['job', 'create', 'prune', 'nightly', '--store', STORE, '--keep-daily', '7', ...every]);
  await command(on, ['job', 'create', 'gc', 'main', '--store', STORE, ...every]);
  await command(on, ['job', 'create', 'verify', 'nightly', '--store', STORE, ...every]);
  await stopServer(on);
}

async function vm({ holdfast, run, node }, args) {
  await run(process.execPath, [...holdfast.program, 'vm', ...args, '--node-dir', node]);
}

/** A guest without a system, with a disk half full of what does not compress. */
async function smallGuest(on, id) {
  await vm(on, ['create', id, '--name', `small${id}`, '--memory', '64', '--vga', 'none', '--balloon', '0', '--virtio0', `local:${SMALL_MIB / 1024},format=raw`]);
  const disk = join(on.node, 'storage/local/images', id, `vm-${id}-disk-0.raw`);
  writeFileSync(disk, randomBytes((SMALL_MIB / 2) * MIB), { flag: 'r+' });
  return id;
}

async function firstNight(on) {
  const { say, check, clock, mailbox, rows, seconds } = on;
  const evening = [0, 1].map((days) => at(Date.now(), 21, 0, days)).find((ms) => ms - BEFORE_MINUTE_MS > Date.now());
  if (clock.isThere) {
    clock.goTo(evening - BEFORE_MINUTE_MS);
    say(`for our programs it is now right before ${stamp(evening)} (libfaketime)`);
  } else say(`the jobs are run now, by hand: ${clock.missing}`);
  const before = mailbox.mails.length;
  await startServer(on);
  const started = performance.now();
  if (!clock.isThere) for (const job of JOBS) await command(on, ['job', 'run', job]);
  const runs = await endedRuns(on, JOBS.length);
  rows.push(['a night of five jobs', seconds(performance.now() - started), '', '', '', '', '']);
  show(on, await command(on, ['job', 'history']));
  check(runs.length === JOBS.length && JOBS.every((job) => of(runs, job).length === 1 && of(runs, job)[0].state === 'ok'), 'every job ran once, and ended well');
  if (clock.isThere) check(runs.every((each) => each.reason === 'schedule' && each.slot * 1000 === evening), 'each by its schedule, at 21:00');
  check(isInOrder(runs), 'in the order of a night: backups, then prune, garbage collection, verification');
  show(on, await command(on, ['notify', 'digest']));
  const digest = await mailbox.mail(/^Backups of /, before, MAIL_MS);
  say(`mails that came: ${mailbox.mails.slice(before).map(({ subject }) => `"${subject}"`).join(', ')}. The last one:`);
  showMail(on, digest);
  check(/: \d+ well$/.test(digest.subject) && digest.to.join() === 'admin@example.com', 'the digest is in the mailbox of the administrator, and its subject says that all is well');
  const lines = digest.text.split('\n');
  check(TASKS.every((task) => lines.some((line) => line.startsWith(`${task} `) && line.endsWith('  OK'))), 'it names every job, with its outcome');
  const groups = [`vm/${on.guest}`, `vm/${FORGOTTEN_ID}`];
  const sized = [...TASKS.slice(0, 2), ...groups.map((group) => `backup main:${group}`)];
  check(sized.every((task) => lines.some((line) => line.startsWith(`${task} `) && /\d (KiB|MiB|GiB)  OK$/.test(line))), 'and each backup, with what it took in the datastore');
  check(!lines.some((line) => line.startsWith('backup main:host/web ')), 'a backup of one group is one line, that of its job');
}

/** The server is gone for two nights, and somebody has left a guest out. */
async function missedNights(on) {
  const { heading, say, check, clock, mailbox, rows, seconds } = on;
  heading('Two nights without the server: made up for once; and a guest that nobody backs up any more is told of');
  await command(on, ['job', 'update', 'guests', '--unset', 'all', '--vm', on.guest]);
  await command(on, ['notify', 'alarms', '--backup-hours', '26', '--full-days', '0', '--digest-at', '07:00'], { isJson: true });
  await stopServer(on);
  const [first, second] = [1, 2].map((days) => at(clock.now(), 21, 0, days));
  const morning = at(clock.now(), 9, 0, 3);
  clock.goTo(morning - BEFORE_MINUTE_MS);
  say(`the server was stopped, and is started on ${stamp(morning)}: the nights of ${stamp(first)} and ${stamp(second)} are missed`);
  const before = mailbox.mails.length;
  await startServer(on);
  const started = performance.now();
  const empty = await mailbox.mail(/^Backups of /, before, MAIL_MS);
  showMail(on, empty);
  check(empty.subject.endsWith(': nothing ran'), 'the digest of this morning was missed too: it is sent now, and says that nothing ran');
  const runs = (await endedRuns(on, 2 * JOBS.length)).slice(0, -JOBS.length);
  rows.push(['two missed nights, made up for', seconds(performance.now() - started), '', '', '', '', '']);
  show(on, await command(on, ['job', 'history']));
  check(runs.length === JOBS.length && JOBS.every((job) => of(runs, job).length === 1 && of(runs, job)[0].state === 'ok'), 'two missed nights: one run of each job, and it ended well');
  check(runs.every(({ reason, slot }) => reason === 'late' && slot * 1000 === first) && isInOrder(runs), 'each is late for the first night that was missed, in the order of a night');
  const next = await command(on, ['job', 'next'], { isShown: false, isJson: true });
  check(next.length === JOBS.length && next.every((each) => each['next-run'] * 1000 === at(morning, 21, 0)), `the next run of each is tonight, ${stamp(at(morning, 21, 0))}`);
  // 60, but where the clocks were changed.
  await alarm(on, Math.round((morning - at(first, 21, 0, -1)) / 3_600_000));
}

async function alarm(on, hours) {
  const { say, check, mailbox } = on;
  const before = mailbox.mails.length;
  say('alarms are looked at each hour; one need not wait for it:');
  show(on, await command(on, ['notify', 'check']));
  const told = await mailbox.mail(/no good backup|missing/, before, MAIL_MS);
  showMail(on, told);
  check(told.subject === `${STORE}: vm/${FORGOTTEN_ID} has no good backup since ${hours} hours` && told.headers['x-holdfast-severity'] === 'error', 'the guest that was left out is told of, as an error');
  const { alarms } = await command(on, ['notify', 'check'], { isShown: false, isJson: true });
  // One that was told again would come at once.
  await new Promise((done) => setTimeout(done, AGAIN_MS));
  const mails = mailbox.mails.slice(before).filter(({ headers }) => headers['x-holdfast-type'] === 'absence');
  check(alarms.length === 1 && mails.length === 1, 'it alone, and once, however often one looks: what was backed up late raises none');
}

/** The newest first, when so many are there and none goes on. */
async function endedRuns(on, count) {
  let runs = [];
  for (const until = Date.now() + RUNS_MS; Date.now() < until; await new Promise((done) => setTimeout(done, POLL_MS))) {
    runs = await command(on, ['job', 'history'], { isShown: false, isJson: true });
    if (runs.length >= count && runs.every(({ ended }) => ended !== undefined)) return runs;
  }
  throw new Error(`the jobs did not end: ${JSON.stringify(runs)}`);
}

function of(runs, job) {
  return runs.filter(({ kind, id }) => `${kind}/${id}` === job);
}

/** Each step begins when the one before has ended, to the second. */
function isInOrder(runs) {
  const steps = [['vzdump', 'backup'], ['prune'], ['gc'], ['verify']].map((kinds) => runs.filter(({ kind }) => kinds.includes(kind)));
  return steps.every((step, n) => n === 0 || Math.min(...step.map(({ started }) => started)) >= Math.max(...steps[n - 1].map(({ ended }) => ended)));
}
