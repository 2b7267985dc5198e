// What a server is told: the command line before the file before what is usual, and errors that name the place.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAddress, serverConfig } from '../../src/daemon/server-config.ts';
import { temporaryDirectory } from '../datastore/fixture.ts';

test('what is not said is usual', () => {
  assert.deepEqual(serverConfig({ stateDir: '/s' }), {
    stateDirectory: '/s',
    host: '127.0.0.1',
    port: 8007,
    guestHost: '127.0.0.1',
    guestPort: 8006,
    nodeDirectory: undefined,
    localAgent: false,
    file: undefined,
    stateDatastore: undefined,
    bulkPort: 8008,
    certificate: undefined,
    drainMs: 60_000,
    logLevel: 'info',
    jobLimits: { all: 64, node: 2, datastore: 4 },
    taskHistory: { maxAgeDays: 90, maxCount: 20_000 },
    firstDatastore: undefined,
  });
});

test('the command line wins over the file', (t) => {
  const config = join(temporaryDirectory(t), 'server.json');
  const file = {
    stateDirectory: '/f',
    listen: '[::]:9000',
    guestListen: '[::]:9006',
    nodeDirectory: '/srv/guests',
    localAgent: true,
    bulkPort: 9001,
    drainSeconds: 5,
    logLevel: 'warn',
    stateDatastore: 'main',
    jobLimits: { node: 4, all: 9 },
  };
  writeFileSync(
    config,
    JSON.stringify({ ...file, certificate: '/c', key: '/k', taskHistory: { days: 7, count: 100 } }),
  );
  assert.deepEqual(serverConfig({ config }), {
    file: config,
    stateDatastore: 'main',
    stateDirectory: '/f',
    host: '::',
    port: 9000,
    guestHost: '::',
    guestPort: 9006,
    nodeDirectory: '/srv/guests',
    localAgent: true,
    bulkPort: 9001,
    certificate: { certificate: '/c', key: '/k' },
    drainMs: 5000,
    logLevel: 'warn',
    jobLimits: { all: 9, node: 4, datastore: 4 },
    taskHistory: { maxAgeDays: 7, maxCount: 100 },
    firstDatastore: undefined,
  });
  const options = {
    config,
    stateDir: '/o',
    listen: 'vault:1',
    bulkPort: '0',
    drain: '0',
    logLevel: 'debug',
    key: '/l',
  };
  const told = serverConfig(options);
  assert.equal(told.localAgent, true);
  assert.equal(serverConfig({ config, localAgent: false }).localAgent, false);
  assert.equal(serverConfig({ localAgent: true }).localAgent, true);
  assert.deepEqual(
    [told.stateDirectory, told.host, told.port, told.bulkPort, told.drainMs, told.logLevel, told.certificate?.key],
    ['/o', 'vault', 1, 0, 0, 'debug', '/l'],
  );
});

test('what cannot be meant is refused, and the message names it', (t) => {
  const config = join(temporaryDirectory(t), 'server.json');
  const refused = (options: Parameters<typeof serverConfig>[0], message: RegExp) =>
    assert.throws(() => serverConfig(options), { name: 'HoldfastError', code: 'bad-argument', message });
  refused({ listen: '8007' }, /--listen/);
  refused({ bulkPort: '70000' }, /--bulk-port/);
  refused({ drain: '-1' }, /--drain/);
  refused({ drain: '1e3' }, /--drain/);
  refused({ logLevel: 'loud' }, /--log-level/);
  refused({ certificate: '/c' }, /--key/);
  refused({ config }, /server\.json cannot be read/);
  const inFile = (text: string, message: RegExp) => {
    writeFileSync(config, text);
    refused({ config }, message);
  };
  inFile('{', /not JSON/);
  inFile('{"lisen": "x"}', /server\.json/);
  inFile('{"localAgent": "yes"}', /localAgent/);
  inFile('{"drainSeconds": "5"}', /drainSeconds/);
  inFile('{"logLevel": "loud"}', /logLevel/);
  inFile('{"jobLimits": {"node": 5}}', /node/);
  inFile('{"jobLimits": {"all": 0}}', /all/);
  inFile('{"taskHistory": {"days": 0, "count": 100}}', /days/);
});

test('addresses', () => {
  assert.deepEqual(parseAddress('[fe80::1%eth0]:1'), { host: 'fe80::1%eth0', port: 1 });
  assert.deepEqual(parseAddress('localhost:0'), { host: 'localhost', port: 0 });
  for (const text of ['', ':', ':8007', 'a', 'a:', 'a:70000', '::1:8007', '[x]:1', '[::1]', 'a b:1', 'a:1 ', 'a:-1'])
    assert.throws(() => parseAddress(text), { code: 'bad-argument' }, text);
});
