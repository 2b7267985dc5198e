// The network of guests. What changes links runs in a network namespace of its own (in-namespace.ts); here what needs none: commands as
// they are planned, wrong arguments, and the user-mode network.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { vlanCommands } from '../../../src/guests/network/bridge-port.ts';
import { connectNetwork, type NetworkCard } from '../../../src/guests/network/connect-network.ts';
import { downwardCommands, upwardCommands } from '../../../src/guests/network/limit-rate.ts';
import { parseGuestId } from '../../../src/schema/guest-names.ts';
import { bundle } from '../../util/bundle.ts';

const noNamespaces = reasonToSkip();

function reasonToSkip(): string | false {
  for (const tool of ['ip', 'bridge', 'tc', 'unshare', 'qemu-system-x86_64'])
    if (spawnSync(tool, ['--version']).error) return `${tool} is not installed`;
  const { status, stderr } = spawnSync('unshare', ['-n', 'ip', 'tuntap', 'add', 'dev', 'tap1i0', 'mode', 'tap'], {
    encoding: 'utf8',
  });
  return status !== 0 && `no network namespaces with taps here: ${stderr.trim()}`;
}

test('in a network namespace', { skip: noNamespaces, timeout: 120_000 }, async (t) => {
  const program = await bundle(t, "import '../test/guests/network/in-namespace.ts';");
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const args = ['-n', process.execPath, '--test-reporter=spec', fileURLToPath(program)];
  const { status, stdout, stderr } = spawnSync('unshare', args, { encoding: 'utf8', env, timeout: 110_000 });
  // What was skipped, and why.
  for (const line of stdout.split('\n')) if (line.includes('# ')) t.diagnostic(line.trim());
  assert.equal(status, 0, `${stdout}\n${stderr}`);
  assert.match(stdout, /pass \d\d/);
});

const card = (more: Partial<NetworkCard>): NetworkCard => ({
  vmid: parseGuestId(101),
  index: 0,
  model: 'virtio',
  ...more,
});

test('no bridge: the user-mode network, which says what it cannot', async () => {
  const { netdev, how, warnings } = await connectNetwork(card({ index: 3, tag: 5, rateMbps: 1 }));
  assert.deepEqual(netdev, { type: 'user', id: 'net3', restrict: false });
  assert.match(how, /user-mode.*no bridge is named/);
  assert.deepEqual(warnings, [
    'net3: tag means nothing in the user-mode network',
    'net3: rate means nothing in the user-mode network',
  ]);
});

test('not root: the user-mode network', { skip: process.getuid?.() !== 0 && 'needs root' }, async (t) => {
  const program = await bundle(
    t,
    `import { connectNetwork } from './guests/network/connect-network.ts';
     const { netdev, how } = await connectNetwork({ vmid: 101, index: 0, model: 'e1000', bridge: 'vmbr0' });
     console.log(JSON.stringify([netdev.type, how]));`,
  );
  const args = ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, fileURLToPath(program)];
  const { stdout, stderr } = spawnSync('setpriv', args, { encoding: 'utf8' });
  assert.match(stdout, /^\["user",".*only root may take bridge vmbr0/, stderr);
});

test('cards that make no sense are refused before anything is done', async () => {
  const wrong: Partial<NetworkCard>[] = [
    { index: 32 },
    { index: -1 },
    { tag: 0 },
    { tag: 4095 },
    { tag: 1.5 },
    { trunks: [[9, 5]] },
    { trunks: [[1, 4095]] },
    { mtu: 100 },
    { mtu: 70_000 },
    { rateMbps: 0 },
    { rateMbps: Number.NaN },
    { queues: 65 },
  ];
  for (const each of wrong)
    await assert.rejects(connectNetwork(card(each)), { code: 'bad-argument' }, JSON.stringify(each));
});

test('VLANs of a port: tag, trunks, both, neither', () => {
  const said = (tag: number | undefined, trunks: [number, number][]) =>
    vlanCommands('tap1i0', tag, trunks).map((args) =>
      args.join(' ').replace('vlan ', '').replace('dev tap1i0 vid ', ''),
    );
  assert.deepEqual(said(5, []), ['del 1-4094', 'add 5 pvid untagged']);
  assert.deepEqual(said(undefined, []), ['del 1-4094', 'add 2-4094', 'add 1 pvid untagged']);
  assert.deepEqual(
    said(5, [
      [7, 7],
      [10, 20],
    ]),
    ['del 1-4094', 'add 7', 'add 10-20', 'add 5 pvid untagged'],
  );
  assert.deepEqual(said(undefined, [[7, 7]]), ['del 1-4094', 'add 7', 'add 1 pvid untagged']);
});

test('rates are bytes a second to tc', () => {
  const lines = [...downwardCommands('tap1i0', 1_572_864), ...upwardCommands('tap1i0', 1_572_864)].map((args) =>
    args.join(' '),
  );
  assert.equal(lines.filter((line) => line.includes('rate 1572864bps burst 1048576b')).length, 4);
});
