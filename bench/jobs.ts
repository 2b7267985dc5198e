// What do schedules cost, and do they hold? A server with 2,000 jobs at rest, jobs that are due in the same minute, ten years of nights on a clock that jumps, and
// a night of fifty guests of which one hangs.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { localJobs } from '../src/daemon/jobs/server-jobs.ts';
import type { JobDesk } from '../src/jobs/schedule/job-desk.ts';
import { authTables } from '../src/state/auth-tables.ts';
import { StateDatabase } from '../src/state/state-database.ts';
import { ACTOR, HOUR, MINUTE, nightsIn, ScheduleFixture } from '../test/jobs/schedule/fixture.ts';
import { type Answer, answerInParts, atMost, type Context, type Question } from './question.ts';
import { ServerStore } from './server/server-store.ts';

const JOBS = 2000;
const DUE = 100;
/** Of ten years; the bench measures each of them. */
const ZONES = ['Europe/Rome', 'America/New_York', 'Australia/Lord_Howe'];
const NIGHTS = 3653;
const IDLE_MS = 180_000;

export const jobs: Question = {
  name: 'jobs',
  title: 'Schedules: 2,000 jobs of a server at rest and when due, ten years of nights, a night of 50 guests',
  answer: (context) => answerInParts([manyJobs, tenYears, fiftyGuests], context),
};

async function manyJobs({ workspace, scale }: Context): Promise<Answer> {
  const store = await ServerStore.start(workspace, 'jobs');
  const path = join(workspace.path('jobs', 'server'), 'state.db');
  const state = StateDatabase.open(path);
  try {
    const desk = localJobs({ state, audit: authTables(state).audit, clock: Date.now });
    const idleMs = IDLE_MS * Math.min(1, scale);
    const alone = await cpuShare(store, idleMs);
    // None is due for the next hours.
    const far = new Date(Date.now() + 6 * HOUR);
    state.atomically(() => {
      for (let n = 0; n < JOBS; n++) add(desk, `idle-${n}`, `${far.getHours()}:${n % 60}`);
    });
    // The look at all jobs, once.
    await sleep(2 * MINUTE * Math.min(1, scale));
    const withJobs = await cpuShare(store, idleMs);
    const due = new Date(Math.ceil(Date.now() / MINUTE + 0.5) * MINUTE);
    for (let n = 0; n < DUE; n++) add(desk, `due-${n}`, `${due.getHours()}:${due.getMinutes()}`);
    const lateMs = await latestStart(desk, due.getTime());
    return {
      rows: [],
      bars: [
        atMost(`CPU of a core, a server at rest with ${JOBS} jobs`, withJobs * 100, 1, ' %'),
        atMost(`the last of ${DUE} jobs due in one minute starts after`, lateMs / 1000, 60, ' s'),
      ],
      facts: { 'CPU of the same server without jobs, %': alone * 100 },
    };
  } finally {
    state.close();
    await store.stop();
  }
}

function add(desk: JobDesk, id: string, schedule: string): void {
  desk.create(ACTOR, { kind: 'prune', id, schedule, options: { store: 'bench', 'keep-last': 3 } });
}

/** Of one core. */
async function cpuShare(store: ServerStore, forMs: number): Promise<number> {
  const [before, begun] = [await store.cpuS(), performance.now()];
  await sleep(forMs);
  return ((await store.cpuS()) - before) / ((performance.now() - begun) / 1000);
}

async function latestStart(desk: JobDesk, dueMs: number): Promise<number> {
  for (const until = dueMs + 5 * MINUTE; Date.now() < until; await sleep(1000)) {
    const runs = desk.history({}).rows.filter(({ startMs }) => startMs !== null);
    if (runs.length >= DUE) return Math.max(...runs.map(({ startMs }) => startMs as number)) - dueMs;
  }
  return Number.POSITIVE_INFINITY;
}

async function tenYears({ scale }: Context): Promise<Answer> {
  const nights = Math.ceil(NIGHTS * Math.min(1, scale));
  const bars = [];
  for (const name of ZONES) {
    const seen = await nightsIn(name, nights);
    const wrong = Math.abs(seen.length - nights) + (seen.length - new Set(seen).size);
    bars.push(atMost(`${nights} nights in ${name}: skipped or doubled`, wrong, 0, ''));
  }
  return { rows: [], bars, facts: {} };
}

async function fiftyGuests(): Promise<Answer> {
  const limits = { all: 10, node: 2, datastore: 4 };
  const timeoutMs = 1000;
  using night = new ScheduleFixture({ limits, times: { graceMs: 50 } });
  night.isQuick = true;
  night.at('2026-03-01T00:00:00Z');
  night.add('a-hangs', { options: { store: 'main', node: 'one', hangs: true }, timeoutMs });
  for (let n = 10; n < 60; n++) night.add(`g${n}`, { options: { store: 'main', node: 'one' } });
  const begun = performance.now();
  await night.until('2026-03-01T02:00:00Z', HOUR);
  await night.ended(51);
  return {
    rows: [],
    bars: [
      atMost('a night of 50 guests, one hangs: past its time-out', performance.now() - begun - timeoutMs, 1000, ' ms'),
    ],
    facts: {},
  };
}
