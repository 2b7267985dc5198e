// Figures and health as programs read them, over a real server.
import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { Phase } from '../../src/daemon/health.ts';
import { type DatastoreFigures, type GroupMetrics, type JobMetrics, Metrics } from '../../src/daemon/metrics.ts';
import { withProbes } from '../../src/daemon/probes.ts';

function started(t: TestContext) {
  const made = {
    phase: 'running' as Phase,
    stateWorks: true,
    datastores: [] as DatastoreFigures[],
    groups: [] as GroupMetrics[],
    jobs: (): JobMetrics[] => [],
    tasks: 0,
    sessions: 0,
    stateBackup: { lastSeconds: 0, hasFailed: false },
    bugs: [] as unknown[],
  };
  const metrics = new Metrics({
    datastores: async () => made.datastores,
    groups: async () => made.groups,
    jobs: () => made.jobs(),
    runningTasks: () => made.tasks,
    connectedAgents: () => 2,
    openSessions: () => made.sessions,
    stateBackup: () => made.stateBackup,
  });
  const health = {
    phase: () => made.phase,
    checkState: () => {
      if (!made.stateWorks) throw new Error('state.db is gone: /secret/place');
    },
    datastores: () => made.datastores,
  };
  const server = createServer(
    withProbes(
      (asked, response) => response.writeHead(201).end(`api ${asked.method} ${asked.url}`),
      { metrics, health, routeOf: () => '/things/{id}' },
      (error) => made.bugs.push(error),
    ),
  );
  t.after(() => {
    server.close();
    metrics.close();
  });
  const listening = new Promise<number>((resolve) =>
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)),
  );
  const ask = async (path: string, method = 'GET'): Promise<{ status: number | undefined; text: string }> => {
    const port = await listening;
    return await new Promise((resolve, reject) => {
      const asking = request({ port, path, method, agent: false }, (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += String(chunk);
        });
        response.on('end', () => resolve({ status: response.statusCode, text }));
      });
      asking.on('error', reject).end();
    });
  };
  return { made, metrics, ask };
}

function figure(text: string, name: string): number | undefined {
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length));
}

test('requests, tasks, datastores and the process have figures', async (t) => {
  const { made, metrics, ask } = started(t);
  made.datastores = [
    { name: 'one', isOpen: true, totalBytes: 1000, availableBytes: 400 },
    { name: 'two', isOpen: false, totalBytes: undefined, availableBytes: undefined },
  ];
  made.tasks = 3;
  made.sessions = 2;
  metrics.taskEnded('verify', 'ok');
  metrics.taskEnded('verify', 'ok');
  assert.equal((await ask('/things/7?a=1')).text, 'api GET /things/7?a=1');
  await ask('/things/8');
  await ask('/things/8', 'PATCH');
  await new Promise((resolve) => setTimeout(resolve, 30));
  const { text } = await ask('/metrics');
  assert.equal(figure(text, 'holdfast_http_requests_total{method="GET",route="/things/{id}",status="201"}'), 2);
  assert.equal(figure(text, 'holdfast_http_requests_total{method="other",route="/things/{id}",status="201"}'), 1);
  assert.equal(figure(text, 'holdfast_tasks_total{type="verify",result="ok"}'), 2);
  assert.equal(figure(text, 'holdfast_tasks_running'), 3);
  assert.equal(figure(text, 'holdfast_sessions_open'), 2);
  assert.equal(figure(text, 'holdfast_datastore_open{datastore="one"}'), 1);
  assert.equal(figure(text, 'holdfast_datastore_open{datastore="two"}'), 0);
  assert.equal(figure(text, 'holdfast_datastore_used_bytes{datastore="one"}'), 600);
  assert.equal(figure(text, 'holdfast_datastore_used_bytes{datastore="two"}'), undefined);
  assert.ok((figure(text, 'process_resident_memory_bytes') ?? 0) > 1e6);
  assert.ok((figure(text, 'process_cpu_seconds_total') ?? 0) > 0);
  made.datastores = [];
  assert.equal(figure((await ask('/metrics')).text, 'holdfast_datastore_open{datastore="one"}'), undefined);
});

test('the delay of the event loop is that since the last reading', async (t) => {
  const { metrics } = started(t);
  const share = (text: string, quantile: string) =>
    figure(text, `holdfast_event_loop_delay_seconds{quantile="${quantile}"}`) ?? Number.NaN;
  const longest = async () => share(await metrics.text(), '1');
  await new Promise((resolve) => setTimeout(resolve, 120));
  await longest();
  // The first interval after a reading only begins.
  await new Promise((resolve) => setTimeout(resolve, 120));
  const until = performance.now() + 300;
  while (performance.now() < until);
  await new Promise((resolve) => setTimeout(resolve, 120));
  assert.ok((await longest()) > 0.25);
  await new Promise((resolve) => setTimeout(resolve, 120));
  assert.ok((await longest()) < 0.25);
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.ok(share(await metrics.text(), '0.5') < 0.02, 'a loop at rest is in time');
});

test('alive is whoever answers; ready is who has started, is not ending, and can read its state', async (t) => {
  const { made, ask } = started(t);
  made.datastores = [
    { name: 'secret-name', isOpen: true, totalBytes: 1, availableBytes: 1 },
    { name: 'b', isOpen: false, totalBytes: 1, availableBytes: 1 },
  ];
  const { status, text } = await ask('/health/ready');
  assert.equal(status, 200);
  assert.deepEqual(JSON.parse(text), {
    status: 'ready',
    phase: 'running',
    state: 'readable',
    datastores: { open: 1, closed: 1 },
  });
  for (const phase of ['starting', 'stopping'] as const) {
    made.phase = phase;
    assert.equal((await ask('/health/ready')).status, 503);
    assert.equal((await ask('/health/live')).status, 200);
  }
  made.phase = 'running';
  made.stateWorks = false;
  const bad = await ask('/health/ready');
  assert.equal(bad.status, 503);
  assert.doesNotMatch(bad.text, /secret/);
  assert.equal((await ask('/health/live', 'POST')).text, 'api POST /health/live');
  assert.deepEqual(made.bugs, []);
});

test('groups have figures, the first 1000 of them, and those that are gone have none', async (t) => {
  const { made, ask } = started(t);
  const group = (n: number): GroupMetrics => ({
    datastore: 'main',
    ns: 'office',
    group: `vm/${n}`,
    lastGood: 1_700_000_000,
    sizeBytes: 5000,
    newBytes: undefined,
    durationSeconds: 12.5,
    anomaly: undefined,
  });
  made.groups = [...Array.from({ length: 1005 }, (_, n) => group(n)), { ...group(2000), lastGood: undefined }];
  const { text } = await ask('/metrics');
  const labels = '{datastore="main",namespace="office",group="vm/0"}';
  assert.match(text, /^holdfast_groups 1006$/m);
  assert.ok(text.includes(`holdfast_group_last_good_snapshot_timestamp_seconds${labels} 1700000000\n`));
  assert.ok(text.includes(`holdfast_group_size_bytes${labels} 5000\n`));
  assert.doesNotMatch(text, /holdfast_group_new_bytes\{/);
  assert.ok(text.includes(`holdfast_group_duration_seconds${labels} 12.5\n`));
  assert.ok(text.includes(`holdfast_group_anomaly${labels} 0\n`));
  const age = /holdfast_group_last_good_snapshot_age_seconds\{[^}]*vm\/0"\} (\d+)/.exec(text)?.[1];
  assert.ok(Math.abs(Date.now() / 1000 - 1_700_000_000 - Number(age)) < 10);
  assert.equal(text.match(/^holdfast_group_size_bytes\{/gm)?.length, 1000);
  made.groups = [{ ...group(7), lastGood: undefined, sizeBytes: undefined, newBytes: 9, anomaly: 'added 9 GiB' }];
  const later = (await ask('/metrics')).text;
  assert.match(later, /last_good_snapshot_timestamp_seconds\{[^}]*vm\/7"\} 0$/m);
  assert.match(later, /holdfast_group_new_bytes\{[^}]*vm\/7"\} 9$/m);
  assert.match(later, /holdfast_group_anomaly\{[^}]*vm\/7"\} 1$/m);
  assert.doesNotMatch(later, /vm\/0"/);
});

test('jobs have figures: those that never ran well no time, those without a schedule are never behind', async (t) => {
  const { made, ask } = started(t);
  const job = (id: string, more: Partial<JobMetrics> = {}): JobMetrics => ({
    ...{ kind: 'sync', id, lastGood: 1_700_000_000, isBehind: false },
    ...more,
  });
  made.jobs = () => [job('a'), job('b', { lastGood: undefined, isBehind: true }), job('c', { isBehind: undefined })];
  const { text } = await ask('/metrics');
  assert.deepEqual(text.match(/^holdfast_job.* \S+$/gm), [
    'holdfast_jobs 3',
    'holdfast_job_last_success_timestamp_seconds{kind="sync",id="a"} 1700000000',
    'holdfast_job_last_success_timestamp_seconds{kind="sync",id="c"} 1700000000',
    'holdfast_job_behind{kind="sync",id="a"} 0',
    'holdfast_job_behind{kind="sync",id="b"} 1',
  ]);
  made.jobs = () => Array.from({ length: 1005 }, (_, n) => job(`j${n}`));
  assert.equal((await ask('/metrics')).text.match(/^holdfast_job_behind\{/gm)?.length, 1000);
  made.jobs = () => {
    throw new Error('the state cannot be read');
  };
  const broken = (await ask('/metrics')).text;
  assert.match(broken, /^holdfast_jobs 0$/m);
  assert.match(broken, /^process_resident_memory_bytes/m);
});
