// The alert rules that are shipped: every figure that they ask for is one that a server gives, and promtool takes them.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Metrics } from '../../src/daemon/metrics.ts';

const RULES = fileURLToPath(new URL('../../packaging/prometheus-alerts.yml', import.meta.url));
const isThere = spawnSync('promtool', ['--version']).error === undefined;
const options = { skip: isThere ? false : 'promtool is not installed: apt-get install prometheus' };

test('every figure that a rule asks for is one that a server gives', async () => {
  const metrics = new Metrics({
    datastores: async () => [],
    groups: async () => [],
    jobs: () => [],
    runningTasks: () => 0,
    connectedAgents: () => 0,
    openSessions: () => 0,
    stateBackup: () => ({ lastSeconds: 0, hasFailed: false }),
  });
  try {
    const text = await metrics.text();
    const asked = new Set(readFileSync(RULES, 'utf8').match(/holdfast_[a-z_]+/g));
    assert.ok(asked.size >= 7);
    for (const name of asked) assert.match(text, new RegExp(`^# TYPE ${name} `, 'm'));
  } finally {
    metrics.close();
  }
});

test('promtool takes the rules', options, () => {
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'rules', RULES], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /9 rules found/);
});

test(
  'a group without a backup, an anomaly, a job that is behind and a failed task raise their alerts, and nothing else does',
  options,
  (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'hft-rules-'));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const group = 'datastore="main",namespace="",group="vm/100"';
    writeFileSync(
      join(directory, 'test.yml'),
      `
rule_files: ['${RULES}']
evaluation_interval: 5m
tests:
  - interval: 5m
    input_series:
      - series: 'holdfast_group_last_good_snapshot_timestamp_seconds{${group}}'
        values: '0+0x800'
      - series: 'holdfast_tasks_total{type="gc",result="error"}'
        values: '0+0x700 1+0x100'
      - series: 'holdfast_datastore_open{datastore="main"}'
        values: '1+0x800'
      - series: 'holdfast_group_anomaly{${group}}'
        values: '0+0x100 1+0x700'
      - series: 'holdfast_job_behind{kind="sync",id="offsite"}'
        values: '0+0x100 1+0x700'
    alert_rule_test:
      - eval_time: 8h30m
        alertname: HoldfastJobBehind
        exp_alerts: []
      - eval_time: 9h
        alertname: HoldfastJobBehind
        exp_alerts:
          - exp_labels: { severity: critical, kind: sync, id: offsite }
            exp_annotations:
              summary: Job sync/offsite of  has missed two of its times in a row.
      - eval_time: 8h
        alertname: HoldfastAnomaly
        exp_alerts: []
      - eval_time: 9h
        alertname: HoldfastAnomaly
        exp_alerts:
          - exp_labels: { severity: critical, datastore: main, group: vm/100 }
            exp_annotations:
              summary: A backup of vm/100 in main  is unusual, as after an attack.
      - eval_time: 47h
        alertname: HoldfastGroupWithoutBackup
        exp_alerts: []
      - eval_time: 49h
        alertname: HoldfastGroupWithoutBackup
        exp_alerts:
          - exp_labels: { severity: critical, datastore: main, group: vm/100 }
            exp_annotations:
              summary: vm/100 in main  has had no good backup for two days.
      - eval_time: 58h
        alertname: HoldfastTasksFailed
        exp_alerts: []
      - eval_time: 58h45m
        alertname: HoldfastTasksFailed
        exp_alerts:
          - exp_labels: { severity: warning, type: gc, result: error }
            exp_annotations:
              summary: 'Tasks of type gc failed on .'
      - eval_time: 49h
        alertname: HoldfastDatastoreClosed
        exp_alerts: []
`,
    );
    const { status, stdout, stderr } = spawnSync('promtool', ['test', 'rules', join(directory, 'test.yml')], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, `${stdout}${stderr}`);
  },
);
