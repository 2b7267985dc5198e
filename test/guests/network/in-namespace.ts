// Run by connect-network.test.ts in a network namespace of its own, so that nothing here touches the host's network.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  connectNetwork,
  type NetworkCard,
  releaseNetwork,
  setTapLink,
  tapName,
} from '../../../src/guests/network/connect-network.ts';
import { findLink, linkNames, listLinks } from '../../../src/guests/network/links.ts';
import { parseGuestId } from '../../../src/schema/guest-names.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { frame, Guest } from './hub.ts';

const MAY_TAKE_MS = 5_000;
const NOT_WITHIN_MS = 150;

const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' });
/** Why the kernel does not do a thing, for the report. */
function cannot(tool: string, ...args: string[]): string | false {
  const { status, stderr } = spawnSync(tool, args, { encoding: 'utf8' });
  return status !== 0 && `this kernel cannot (${tool} ${args.join(' ')}): ${stderr.trim()}`;
}

assert.deepEqual(
  (await listLinks(undefined)).filter(({ name, kind }) => name !== 'lo' && kind !== 'ifb').map(({ name }) => name),
  [],
  'these tests are for an empty network namespace',
);
ip('link', 'set', 'lo', 'up');
const noVlans = cannot('ip', 'link', 'add', 'aware0', 'type', 'bridge', 'vlan_filtering', '1');
const noVlanDevices = cannot('ip', 'link', 'add', 'link', 'lo', 'name', 'probe.5', 'type', 'vlan', 'id', '5');
if (!noVlanDevices) ip('link', 'del', 'probe.5');
if (!noVlans) ip('link', 'set', 'aware0', 'up');
ip('link', 'add', 'vmbr0', 'type', 'bridge');
ip('link', 'set', 'vmbr0', 'mtu', '4000', 'up');

const id = (number: number) => parseGuestId(number);
const card = (vmid: number, more: Partial<NetworkCard> = {}): NetworkCard => ({
  vmid: id(vmid),
  index: 0,
  bridge: 'vmbr0',
  model: 'virtio',
  ...more,
});
const guests: Guest[] = [];
let nextPort = 6000;

async function startGuest(network: NetworkCard): Promise<Guest> {
  const { netdev } = await connectNetwork(network);
  const guest = await Guest.start(netdev, nextPort);
  nextPort += 2;
  guests.push(guest);
  return guest;
}

afterEach(async () => {
  await Promise.all(guests.splice(0).map((guest) => guest.stop()));
  for (const { name } of await listLinks(undefined)) if (name.startsWith('tap')) ip('link', 'del', name);
});

const isError = (code: string, text: RegExp) => (error: unknown) => {
  assert.ok(error instanceof HoldfastError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, text);
  return true;
};

test('two guests on a bridge hear each other, through taps that Proxmox would name so', async () => {
  const [one, two] = [await startGuest(card(101)), await startGuest(card(102))];
  await one.send(frame(1, 'hello from one'));
  assert.ok(await two.receives('hello from one', MAY_TAKE_MS));
  await two.send(frame(2, 'hello from two'));
  assert.ok(await one.receives('hello from two', MAY_TAKE_MS));
  const tap = (await findLink('tap101i0', undefined))!;
  assert.deepEqual([tap.kind, tap.mtu, tap.master, tap.up, tap.carrier], ['tun', 4000, 'vmbr0', true, true]);
  assert.equal((await findLink('vmbr0', undefined))!.mtu, 4000, 'a tap does not lower the MTU of its bridge');
});

test('a tap that a process has is not taken from it; one that a crash left is', async () => {
  const one = await startGuest(card(101));
  await assert.rejects(connectNetwork(card(101)), isError('guest-running', /tap101i0 is in use/));
  await one.stop();
  guests.splice(guests.indexOf(one), 1);
  assert.ok(await findLink('tap101i0', undefined), 'the tap of a QEMU that was killed stays');
  const again = await startGuest(card(101));
  const two = await startGuest(card(102));
  // A frame may come before the bridge forwards to a new port, and is then lost as on any wire.
  const deadline = performance.now() + MAY_TAKE_MS;
  do await again.send(frame(1, 'back again'));
  while (!(await two.receives('back again', 200)) && performance.now() < deadline);
  assert.ok(await two.receives('back again', 0));
});

test('a release by the name deletes the tap, in any process, and twice is no error', async () => {
  const connection = await connectNetwork(card(103, { index: 7 }));
  assert.equal(connection.netdev.ifname, 'tap103i7');
  assert.equal(connection.netdev.id, 'net7');
  assert.ok((await linkNames()).includes('tap103i7'));
  for (let times = 0; times < 2; times++) await releaseNetwork(id(103), 7);
  assert.equal(await findLink('tap103i7', undefined), undefined);
  assert.ok(!(await linkNames()).includes('tap103i7'));
  assert.equal(await setTapLink(id(103), 7, true), false);
});

test('the longest name there can be', async () => {
  const { netdev } = await connectNetwork(card(999_999_999, { index: 31 }));
  assert.equal(netdev.ifname, 'tap999999999i31');
  assert.ok(await findLink('tap999999999i31', undefined));
});

test('a link that is down lets nothing through, until it is set up', async () => {
  const [one, two] = [await startGuest(card(101, { linkDown: true })), await startGuest(card(102))];
  await one.send(frame(1, 'too early'));
  await two.send(frame(2, 'not for you'));
  assert.equal(await two.receives('too early', NOT_WITHIN_MS), false);
  assert.equal(await one.receives('not for you', 0), false);
  assert.equal(await setTapLink(id(101), 0, true), true);
  await one.send(frame(1, 'now'));
  assert.ok(await two.receives('now', MAY_TAKE_MS));
});

test('several queues: QEMU opens the tap with them', async () => {
  const { netdev } = await connectNetwork(card(101, { queues: 2 }));
  assert.equal(netdev.queues, 2);
  const args = ['-accel', 'tcg', '-nodefaults', '-display', 'none', '-S', '-monitor', 'stdio'];
  const device = ['-netdev', JSON.stringify(netdev), '-device', 'virtio-net-pci,netdev=net0,mq=on,vectors=6'];
  const qemu = spawnSync('qemu-system-x86_64', [...args, ...device], {
    input: 'info network\nquit\n',
    encoding: 'utf8',
    timeout: 20_000,
  });
  assert.equal(qemu.status, 0, qemu.stderr);
  assert.match(qemu.stdout, /index=1,type=tap/);
});

test("mtu: 1 is the bridge's, more than the bridge's is refused", async () => {
  assert.equal((await connectNetwork(card(101, { mtu: 1 }))).hostMtu, 4000);
  assert.equal((await connectNetwork(card(102, { mtu: 1400 }))).hostMtu, 1400);
  assert.equal((await findLink('tap102i0', undefined))!.mtu, 4000);
  assert.equal((await connectNetwork(card(103))).hostMtu, undefined);
  await assert.rejects(connectNetwork(card(104, { mtu: 9000 })), isError('bad-argument', /vmbr0 with 4000/));
  assert.equal(await findLink('tap104i0', undefined), undefined);
});

test('a bridge that is not there, and a link that is none', async () => {
  await assert.rejects(
    connectNetwork(card(101, { bridge: 'vmbr9' })),
    isError('not-found', /no bridge vmbr9, this host has .*vmbr0.*interfaces/),
  );
  await assert.rejects(connectNetwork(card(101, { bridge: 'lo' })), isError('target-unfit', /lo is no Linux bridge/));
  for (const bridge of ['', '-all', 'vm br0', 'a/b', 'vmbr0;x', 'x'.repeat(16)])
    await assert.rejects(connectNetwork(card(101, { bridge })), isError('bad-name', /no name of a network link/));
  assert.equal(await findLink('tap101i0', undefined), undefined);
});

test('a VLAN of a bridge that cannot have any is refused, and leaves nothing', async () => {
  const before = ip('-brief', 'link');
  await assert.rejects(
    connectNetwork(card(101, { tag: 5 })),
    isError('target-unfit', /not VLAN-aware and has no physical port/),
  );
  await assert.rejects(
    connectNetwork(card(101, { trunks: [[5, 9]] })),
    isError('target-unfit', /trunks.*not VLAN-aware/),
  );
  ip('link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'up1');
  ip('link', 'set', 'up0', 'master', 'vmbr0');
  try {
    if (noVlanDevices)
      await assert.rejects(
        connectNetwork(card(101, { tag: 5 })),
        isError('target-unfit', /VLAN 5 on up0 cannot be made.*8021q/),
      );
  } finally {
    ip('link', 'del', 'up0');
  }
  assert.deepEqual(names(ip('-brief', 'link')), names(before));
});

const names = (brief: string) =>
  brief
    .trim()
    .split('\n')
    .map((line) => line.split(' ')[0]);

test('an abort leaves no tap', async () => {
  for (const afterMs of [0, 2, 5, 10, 15, 20, 30]) {
    const aborter = new AbortController();
    const connecting = connectNetwork(card(105), aborter.signal);
    const timer = setTimeout(() => aborter.abort(), afterMs);
    const ended = await connecting.then(
      () => 'connected',
      (error: unknown) => (error as HoldfastError).code,
    );
    clearTimeout(timer);
    assert.equal(
      (await findLink('tap105i0', undefined)) !== undefined,
      ended === 'connected',
      `after ${afterMs} ms: ${ended}`,
    );
    await releaseNetwork(id(105), 0);
  }
});

test('a rate limit is held where the kernel can, and a warning where it cannot', async () => {
  const { netdev, warnings } = await connectNetwork(card(101, { rateMbps: 1.5 }));
  const tap = String(netdev.ifname);
  const classes = execFileSync('tc', ['class', 'show', 'dev', tap], { encoding: 'utf8' });
  assert.match(classes, /rate 12582Kbit/);
  const filters = execFileSync('tc', ['filter', 'show', 'dev', tap, 'parent', 'ffff:'], { encoding: 'utf8' });
  if (/police/.test(filters)) assert.deepEqual(warnings, []);
  else {
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, /from the guest is not limited, the kernel cannot: \S/);
  }
});

test('a guest with a rate limit gets what fits, and no more', async () => {
  const [slow, fast, sender] = [
    await startGuest(card(101, { rateMbps: 1 })),
    await startGuest(card(102)),
    await startGuest(card(103)),
  ];
  const text = 'x'.repeat(1400);
  const began = Date.now();
  for (let sent = 0; sent < 4200; sent++) {
    await sender.send(frame(3, text));
    if (sent % 50 === 0) await sleep(1);
  }
  await sleep(100);
  const [slowly, freely] = [slow.received.length, fast.received.length];
  // The burst and what the time lets through. A loaded machine loses frames of both before they get here: no lower bound but for some.
  const most = ((1 + (Date.now() - began) / 1000) * 2 ** 20) / 1400;
  assert.ok(slowly > 50 && slowly < most * 1.1, `with a limit ${slowly}, without ${freely}, at most ${most}`);
  assert.ok(freely > slowly, `with a limit ${slowly}, without ${freely}`);
});

test('VLANs of a VLAN-aware bridge keep guests apart', { skip: noVlans }, async () => {
  const bridge = 'aware0';
  const [five, alsoFive, six, trunk] = [
    await startGuest(card(101, { bridge, tag: 5 })),
    await startGuest(card(102, { bridge, tag: 5 })),
    await startGuest(card(103, { bridge, tag: 6 })),
    await startGuest(
      card(104, {
        bridge,
        trunks: [
          [5, 5],
          [20, 30],
        ],
      }),
    ),
  ];
  await five.send(frame(1, 'for five'));
  assert.ok(await alsoFive.receives('for five', MAY_TAKE_MS));
  assert.ok(await trunk.receives('for five', MAY_TAKE_MS));
  assert.equal(await six.receives('for five', NOT_WITHIN_MS), false);
  await trunk.send(frame(4, 'tagged six', 6));
  assert.equal(await six.receives('tagged six', NOT_WITHIN_MS), false);
  await trunk.send(frame(4, 'tagged five', 5));
  assert.ok(await five.receives('tagged five', MAY_TAKE_MS));
});

test('a VLAN of another bridge has a bridge over a VLAN device of the physical port', {
  skip: noVlanDevices,
}, async () => {
  ip('link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'up1');
  ip('link', 'set', 'up0', 'master', 'vmbr0', 'up');
  ip('link', 'set', 'up1', 'up');
  try {
    const { how } = await connectNetwork(card(101, { tag: 5 }));
    assert.match(how, /on bridge vmbr0v5/);
    assert.equal((await findLink('up0.5', undefined))!.master, 'vmbr0v5');
    assert.equal((await findLink(tapName(id(101), 0), undefined))!.master, 'vmbr0v5');
    await Promise.all([
      connectNetwork(card(102, { tag: 5 })),
      connectNetwork(card(103, { tag: 7 })),
      connectNetwork(card(104, { tag: 7 })),
    ]);
    assert.equal((await findLink('tap104i0', undefined))!.master, 'vmbr0v7');
  } finally {
    ip('link', 'del', 'up0');
  }
});
