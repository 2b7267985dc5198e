import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readAgentConfig, writeAgentConfig } from '../../../src/agent/service/agent-config.ts';
import { BackOff } from '../../../src/agent/service/backoff.ts';
import { describeMachine } from '../../../src/agent/service/machine.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { withCode } from '../../auth/access-fixture.ts';
import { temporaryDirectory } from '../../datastore/fixture.ts';
import { AGENT_CONFIG } from './agent-config-fixture.ts';

test('what an agent knows of itself is its own, comes back as it was, and is refused when others may read it', async (t) => {
  const directory = join(temporaryDirectory(t), 'agent');
  assert.equal(await readAgentConfig(directory), undefined);
  await writeAgentConfig(directory, AGENT_CONFIG);
  assert.deepEqual(await readAgentConfig(directory), AGENT_CONFIG);
  const path = join(directory, 'agent.json');
  assert.deepEqual([statSync(path).mode & 0o777, statSync(directory).mode & 0o777], [0o600, 0o700]);
  chmodSync(path, 0o640);
  await assert.rejects(readAgentConfig(directory), withCode('bad-argument', /chmod 600/));
});

test('a file that is wrong is refused by name: an unknown setting would be one that protects nothing', async (t) => {
  const directory = join(temporaryDirectory(t), 'agent');
  await writeAgentConfig(directory, AGENT_CONFIG);
  const path = join(directory, 'agent.json');
  const whole = JSON.parse(readFileSync(path, 'utf8')) as object;
  for (const wrong of [
    { allowRestor: [] },
    { allowRestore: 'all' },
    { port: 0 },
    { allowBackup: ['srv'] },
    { format: 2 },
  ]) {
    writeFileSync(path, JSON.stringify({ ...whole, ...wrong }), { mode: 0o600 });
    await assert.rejects(readAgentConfig(directory), withCode('bad-argument'), JSON.stringify(wrong));
  }
  await assert.rejects(
    writeAgentConfig(directory, { ...AGENT_CONFIG, allowRestore: ['../x'] }),
    withCode('bad-argument'),
  );
});

test('a machine is known by its id, which does not go out; one without gets one that stays', async (t) => {
  const directory = temporaryDirectory(t);
  const file = join(directory, 'machine-id');
  writeFileSync(file, `${'ab'.repeat(16)}\n`);
  const known = await describeMachine(join(directory, 'state'), [join(directory, 'none'), file]);
  assert.match(known.machineId, /^[0-9a-f]{64}$/);
  assert.equal(known.machineId.includes('abab'), false);
  assert.match(known.bootId, /^[0-9a-f-]{36}$/);
  writeFileSync(file, `${'cd'.repeat(16)}\n`);
  assert.notEqual((await describeMachine(join(directory, 'state'), [file])).machineId, known.machineId);
  mkdirSync(join(directory, 'own'));
  const made = await describeMachine(join(directory, 'own'), []);
  assert.equal((await describeMachine(join(directory, 'own'), [])).machineId, made.machineId);
  assert.notEqual(made.machineId, known.machineId);
});

test('waits double up to a minute, half of each by chance; what a person must mend is tried less often', () => {
  const least = new BackOff(() => 0);
  const most = new BackOff(() => 1);
  const broken = new Error('ECONNREFUSED');
  const waits = Array.from({ length: 9 }, () => [least.next(broken), most.next(broken)]);
  assert.deepEqual(waits.slice(0, 3), [
    [500, 1000],
    [1000, 2000],
    [2000, 4000],
  ]);
  assert.deepEqual(waits.at(-1), [30_000, 60_000]);
  most.reset();
  assert.equal(most.next(broken), 1000);
  const refused = new HoldfastError('node-duplicate', 'another one');
  const patient = new BackOff(() => 1);
  assert.deepEqual(
    Array.from({ length: 6 }, () => patient.next(refused)),
    [15_000, 30_000, 60_000, 120_000, 240_000, 300_000],
  );
});
