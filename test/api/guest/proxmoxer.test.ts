// The client that most scripts use, as Debian has it, against the guest dialect over TLS.
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { ensureSelfSigned } from '../../../src/daemon/certificate.ts';
import { temporaryDirectory } from '../../auth/access-fixture.ts';
import { GuestRig } from './guest-rig.ts';

/** Where Debian's packages are, whatever other Python stands before it. */
const PYTHON = '/usr/bin/python3';
const SCRIPT = 'test/api/guest/proxmoxer-drive.py';
const isThere = spawnSync(PYTHON, ['-c', 'import proxmoxer, requests']).status === 0;

test('proxmoxer signs in, makes and uses a machine, and shows our errors', {
  skip: !isThere && 'the machine has no python3-proxmoxer',
}, async (t) => {
  const directory = temporaryDirectory(t);
  const paths = { certificate: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
  const rig = await GuestRig.open(t, await ensureSelfSigned(paths, ['localhost'], Date.now()));
  const own = await rig.storages.list();
  const tank = {
    storage: 'tank',
    type: 'pbs',
    content: ['backup'],
    isEnabled: true,
    isShared: true,
    options: { path: '/tank' },
  };
  rig.storages.list = async () => [...own, tank];
  await rig.app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = rig.app.server.address() as AddressInfo;
  const { stdout } = await promisify(execFile)(PYTHON, [SCRIPT], {
    env: { PORT: String(port), PASSWORD: rig.fixture.rootPassword },
    timeout: 60_000,
  });
  const {
    'unknown parameter': parameter,
    'unknown path': path,
    'unknown guest': guest,
    'wrong job': job,
    ...seen
  } = JSON.parse(stdout);
  assert.match(parameter, /^400 Bad Request: Parameter verification failed\./);
  assert.match(path, /^501 Not Implemented: Method 'GET \/nonsense' not implemented/);
  assert.match(guest, /^500 Internal Server Error: Configuration file '.*999\.conf' does not exist/);
  assert.match(job, /^400 Bad Request: Parameter verification failed\. - \{'vmid': 'property is missing/);
  assert.deepEqual(seen, {
    'wrong password': 'refused',
    version: '8.4',
    nodes: ['pve1'],
    nextid: '100',
    'fields of a upid': 9,
    create: 'OK',
    config: 'virtio,bridge=vmbr0',
    put: null,
    description: 'first line\nsecond line',
    start: 'OK',
    status: 'running',
    log: ['creating 100', 'TASK OK'],
    snapshot: 'OK',
    snapshots: ['before', 'current'],
    exec: 42,
    volume: 'local:iso/tiny.iso',
    jobs: [['nightly', '100', 0, 'keep-last=3']],
    'by token': [100],
    stop: 'OK',
    delete: 'OK',
  });
  assert.deepEqual(rig.bugs, []);
});
