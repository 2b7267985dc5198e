// agent.json read anew while the agent runs: what counts then, when the agent has to dial again, and files that change nothing.
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type AgentConfig, readAgentConfig, writeAgentConfig } from '../../../src/agent/service/agent-config.ts';
import { RunningConfig } from '../../../src/agent/service/running-config.ts';
import { withCode } from '../../auth/access-fixture.ts';
import { AGENT_CONFIG } from './agent-config-fixture.ts';

const CONFIG: AgentConfig = { ...AGENT_CONFIG, keyFile: '/etc/key' };

async function running(t: TestContext): Promise<{ directory: string; running: RunningConfig }> {
  const directory = mkdtempSync(join(tmpdir(), 'hft-running-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  await writeAgentConfig(directory, CONFIG);
  return { directory, running: new RunningConfig((await readAgentConfig(directory)) as AgentConfig, directory) };
}

test('other places count at once, a member that is gone is gone, and the connection stays', async (t) => {
  const { directory, running: config } = await running(t);
  const { changed } = config;
  const { keyFile: _, ...next } = { ...CONFIG, allowBackup: ['/home'] };
  await writeAgentConfig(directory, next);
  const before = { ...config.config };
  assert.deepEqual((await config.reload()).sort(), ['allowBackup', 'keyFile']);
  assert.deepEqual(config.config, next);
  assert.deepEqual(before, CONFIG);
  assert.equal(changed.aborted, false);
  assert.deepEqual(await config.reload(), []);
});

test('each member of the connection has the agent dial anew, once', async (t) => {
  const { directory, running: config } = await running(t);
  const others = { host: 'other', port: 1, fingerprint: null, node: 'web2', user: 'b@local', token: 't', secret: 's' };
  let next = CONFIG;
  for (const [name, value] of Object.entries(others)) {
    const { changed } = config;
    next = { ...next, [name]: value };
    await writeAgentConfig(directory, next);
    assert.deepEqual(await config.reload(), [name]);
    assert.equal(changed.aborted, true, name);
    assert.equal(config.changed.aborted, false);
  }
});

test('a file that is wrong, open to others or gone changes nothing', async (t) => {
  const { directory, running: config } = await running(t);
  const path = join(directory, 'agent.json');
  writeFileSync(path, '{"format": 1');
  await assert.rejects(config.reload(), withCode('bad-argument', /agent\.json is wrong/));
  await writeAgentConfig(directory, { ...CONFIG, host: 'other' });
  chmodSync(path, 0o644);
  await assert.rejects(config.reload(), withCode('bad-argument', /chmod 600/));
  rmSync(path);
  await assert.rejects(config.reload(), withCode('not-found', /agent\.json is gone/));
  assert.deepEqual(config.config, CONFIG);
  assert.equal(config.changed.aborted, false);
});
