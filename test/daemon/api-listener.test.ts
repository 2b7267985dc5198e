// Two APIs behind two listeners of one server: each answers its own, both have the probes and the certificate, and both end.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import Fastify from 'fastify';
import { Agent, request } from 'undici';
import { openApiListener } from '../../src/daemon/api-listener.ts';
import { ensureSelfSigned } from '../../src/daemon/certificate.ts';
import { Metrics } from '../../src/daemon/metrics.ts';
import { closeAll } from '../../src/util/close-all.ts';
import { temporaryDirectory } from '../datastore/fixture.ts';

test('each listener answers with its own API and counts its routes; a taken address names the option to choose with', async (t) => {
  const directory = temporaryDirectory(t);
  const made = (name: string) =>
    ensureSelfSigned(
      { certificate: join(directory, `${name}.crt`), key: join(directory, `${name}.key`) },
      ['vault'],
      Date.now(),
    );
  const metrics = new Metrics({
    datastores: async () => [],
    groups: async () => [],
    jobs: () => [],
    runningTasks: () => 0,
    connectedAgents: () => 0,
    openSessions: () => 0,
    stateBackup: () => ({ lastSeconds: 0, hasFailed: false }),
  });
  t.after(() => metrics.close());
  const health = { phase: () => 'running' as const, checkState: () => undefined, datastores: () => [] };
  const behind = {
    certificate: await made('one'),
    metrics,
    health,
    onBug: (error: unknown) => assert.fail(String(error)),
  };
  const closing: (() => unknown)[] = [];
  const open = async (name: string, port = 0, option = '--listen') => {
    const api = Fastify();
    api.get('/name/:id', () => name);
    return await openApiListener({ ...behind, api, host: '127.0.0.1', port, option }, closing);
  };
  const [backup, guests] = [await open('backup'), await open('guests', 0, '--guest-listen')];
  const agent = new Agent({ connect: { rejectUnauthorized: false } });
  t.after(() => agent.destroy());
  const get = async (port: number, path: string): Promise<string> =>
    await (await request(`https://127.0.0.1:${port}${path}`, { dispatcher: agent })).body.text();
  assert.equal(await get(backup.address.port, '/name/1'), 'backup');
  assert.equal(await get(guests.address.port, '/name/2'), 'guests');
  assert.match(await get(guests.address.port, '/metrics'), /route="\/name\/:id"[^\n]* 2\n/);
  await assert.rejects(open('third', guests.address.port, '--guest-listen'), /choose with --guest-listen/);
  guests.secure(await made('two'));
  assert.equal(await get(guests.address.port, '/name/3'), 'guests');
  await agent.close();
  await closeAll(closing);
  await assert.rejects(request(`https://127.0.0.1:${guests.address.port}/name/1`));
});
