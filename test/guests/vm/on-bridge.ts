// Run by on-bridge.test.ts in a network namespace of its own: guests with taps on a bridge, a control group and a TPM. Nothing of them stays on the host,
// however they end.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openGuestNode } from '../../../src/guests/guest-node.ts';
import { openControlGroup } from '../../../src/guests/qemu/control-group.ts';
import { hasGone } from '../../../src/guests/qemu/qemu-process.ts';
import { findTpm } from '../../../src/guests/qemu/tpm.ts';
import { createVm } from '../../../src/guests/vm/create.ts';
import { destroyVm } from '../../../src/guests/vm/destroy.ts';
import { lookAtMachine } from '../../../src/guests/vm/machine-state.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import { vmStatus } from '../../../src/guests/vm/status.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import { networkTraffic } from '../../../src/guests/vm/usage.ts';
import { type GuestId, parseGuestId } from '../../../src/schema/guest-names.ts';
import { isThere } from '../../../src/util/is-there.ts';
import { removeNodeTraces } from '../../support/guests/node-traces.ts';
import { KeptReport, TestNode } from '../../support/guests/vm-node.ts';
import { reasonForTools } from '../../support/power-cut/scratch.ts';

const withTpm = reasonForTools('swtpm', 'swtpm_setup') === false;
const SETTINGS = {
  ...{ cores: '1', memory: '64', vga: 'none', balloon: '0', kvm: '0', tablet: '0' },
  ...{ net0: 'virtio,bridge=vmbr0', net1: 'e1000,bridge=vmbr0' },
  ...(withTpm && { tpmstate0: 'local:1,version=v2.0' }),
};
const report = new KeptReport();
let place: TestNode;

before(async () => {
  execFileSync('ip', ['link', 'add', 'vmbr0', 'type', 'bridge']);
  execFileSync('ip', ['link', 'set', 'vmbr0', 'up']);
  place = await TestNode.create();
});

after(async () => {
  await place?.remove();
});

/** Of the guest on the host. */
async function partsOf(id: GuestId): Promise<string[]> {
  const links = execFileSync('ip', ['-brief', 'link'], { encoding: 'utf8' }).split('\n');
  const taps = links.flatMap((line) => new RegExp(`^tap${id}i\\d+`).exec(line)?.[0] ?? []);
  const { directory } = place.node;
  const groups: string[] = [];
  for (const line of (await readFile('/proc/self/mountinfo', 'utf8')).split('\n')) {
    const path = join(line.split(' ')[4] ?? '', directory.name, `vm-${id}`);
    if (/ - cgroup2? /.test(line) && (await isThere(path))) groups.push('group');
  }
  const tpm = (await findTpm(directory.run(id))) === undefined ? [] : ['tpm'];
  return [...taps, ...new Set(groups), ...tpm];
}

async function started(number: number): Promise<{ id: GuestId; pid: number }> {
  const id = parseGuestId(number);
  await createVm(place.node, id, SETTINGS, { start: true }, report);
  const { pid } = await lookAtMachine(place.node, id);
  return { id, pid: pid ?? assert.fail('it does not run') };
}

async function killed(number: number): Promise<GuestId> {
  const { id, pid } = await started(number);
  process.kill(pid, 'SIGKILL');
  assert.ok(await hasGone(place.node.directory.run(id), 10_000));
  assert.deepEqual((await partsOf(id)).slice(0, 2), [`tap${id}i0`, `tap${id}i1`], 'nobody was there to put it away');
  return id;
}

test('a guest that is stopped leaves nothing', async () => {
  const { id } = await started(7301);
  const group = await openControlGroup(id, {}, { node: place.node.directory.name });
  const parts = await partsOf(id);
  assert.deepEqual(parts.slice(0, 2), ['tap7301i0', 'tap7301i1']);
  assert.equal(parts.includes('tpm'), withTpm);
  assert.equal(parts.includes('group'), (await group.pids()).length > 0);
  await stopVm(place.node, id, {}, report);
  assert.deepEqual(await partsOf(id), []);
  assert.deepEqual(await group.pids(), []);
});

test('of one that was killed a stop, and a destroy, take the rest', async () => {
  const stopped = await killed(7302);
  await stopVm(place.node, stopped, {}, report);
  assert.deepEqual(await partsOf(stopped), []);
  const destroyed = await killed(7303);
  await destroyVm(place.node, destroyed, {}, report);
  assert.deepEqual(await partsOf(destroyed), []);
});

test('a start that fails when its taps are there leaves nothing', async () => {
  const id = parseGuestId(7304);
  await createVm(place.node, id, SETTINGS, {}, report);
  const { config } = await place.node.configs.read(id);
  for (const [key, value] of [
    ['cpulimit', '1000'],
    ['machine', 'q35,nonsense=1'],
    ['affinity', '4095'],
  ] as const) {
    await place.node.configs.write(id, { ...config, values: new Map([...config.values, [key, value]]) });
    await assert.rejects(startVm(place.node, id, {}, report), {
      code: key === 'affinity' ? 'guest-failed' : 'bad-argument',
    });
    assert.deepEqual(await partsOf(id), [], key);
  }
  // One that ends before it has spoken to its TPM, which would not end by itself.
  const program = join(place.path, 'ends-at-once');
  const script = 'case "$*" in *help*) exec qemu-system-x86_64 -machine help;; esac; exit 1';
  await writeFile(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  await place.node.configs.write(id, config);
  const broken = { ...place.node, qemu: { ...place.node.qemu, program, args: [] } };
  await assert.rejects(startVm(broken, id, {}, report), { code: 'guest-failed' });
  assert.deepEqual(await partsOf(id), []);
  await place.node.configs.write(id, { ...config, values: new Map([...config.values, ['affinity', '0']]) });
  await startVm(place.node, id, {}, report);
  const { pid } = await lookAtMachine(place.node, id);
  assert.match(await readFile(`/proc/${pid}/status`, 'utf8'), /^Cpus_allowed_list:\s+0$/m);
  await stopVm(place.node, id, {}, report);
});

test('what goes over its network cards is counted as the guest sees it', async () => {
  const path = await mkdtemp(join('/dev/shm', 'hf-node-'));
  const node = await openGuestNode(path);
  const id = parseGuestId(7305);
  execFileSync('ip', ['addr', 'add', '192.0.2.1/24', 'dev', 'vmbr0']);
  try {
    // Nothing to boot but the network: its firmware asks for an address, and listens.
    const settings = { memory: '64', vga: 'none', balloon: '0', kvm: '0', net0: 'virtio,bridge=vmbr0' };
    await createVm(node, id, { ...settings, boot: 'order=net0' }, { start: true }, report);
    for (let waited = 0; ; waited += 500) {
      // An address that nobody has: each try is a broadcast of 42 bytes to the guest.
      spawnSync('ping', ['-c', '1', '-W', '1', '192.0.2.77']);
      const { usage } = await vmStatus(node, id);
      if ((usage?.netInBytes ?? 0) >= 42 && (usage?.netOutBytes ?? 0) >= 300) break;
      assert.ok(waited < 40_000, JSON.stringify(usage));
      await sleep(500);
    }
    const links = new Map([
      ['tap7305i0', { inBytes: 1, outBytes: 20 }],
      ['tap7305i1', { inBytes: 300, outBytes: 4000 }],
      ['tap73051i0', { inBytes: 5, outBytes: 5 }],
    ]);
    assert.deepEqual(networkTraffic(id, links), { inBytes: 4020, outBytes: 301 });
  } finally {
    await stopVm(node, id, {}, report);
    await destroyVm(node, id, {}, report);
    await rm(path, { recursive: true, force: true });
    removeNodeTraces(node.directory);
  }
});
