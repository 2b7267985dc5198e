// Configurations as QEMU's arguments: what each key becomes. Nothing is started.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseVmConfig } from '../../../src/guests/config/vm-config.ts';
import { RunDirectory } from '../../../src/guests/node-directory.ts';
import type { Accelerator } from '../../../src/guests/qemu/accelerator.ts';
import { commandLine } from '../../../src/guests/qemu/command-line.ts';
import { planMachine } from '../../../src/guests/qemu/plan-machine.ts';
import { parseGuestId } from '../../../src/schema/guest-names.ts';

const TYPES = ['pc', 'q35', 'pc-i440fx-7.2', 'pc-q35-7.2'];

interface Told {
  readonly args: readonly string[];
  readonly warnings: readonly string[];
  /** What stands after the option, each time that it is there. */
  of(option: string): string[];
}

async function told(settings: Readonly<Record<string, string>>, accelerator: Accelerator = 'kvm'): Promise<Told> {
  const lines = Object.entries(settings).map(([key, value]) => `${key}: ${value}\n`);
  const config = parseVmConfig(lines.join(''), 'test');
  const warnings: string[] = [];
  const parts = {
    id: parseGuestId(101),
    config,
    disks: [],
    nets: [],
    accelerator,
    tpm: undefined,
    machineTypes: TYPES,
  };
  const plan = await planMachine(parts, (line) => warnings.push(line));
  const args = commandLine(plan, new RunDirectory('/run/holdfast/101'));
  const of = (option: string): string[] => args.flatMap((each, at) => (each === option ? [args[at + 1] ?? ''] : []));
  return { args, warnings, of };
}

async function deviceOf(settings: Readonly<Record<string, string>>, id: string): Promise<Record<string, unknown>> {
  const devices = (await told(settings)).of('-device').map((text) => JSON.parse(text) as Record<string, unknown>);
  return devices.find((device) => device.id === id) ?? {};
}

test('a guest starts stopped, and stays when it powers itself off; a reboot is one, unless it is to be the end', async () => {
  const { args, of } = await told({});
  assert.ok(args.includes('-S'));
  assert.deepEqual(of('-action'), ['shutdown=pause,reboot=reset']);
  assert.deepEqual((await told({ reboot: '0' })).of('-action'), ['shutdown=pause,reboot=shutdown']);
  assert.deepEqual((await told({ reboot: '1' })).of('-action'), ['shutdown=pause,reboot=reset']);
});

test('the clock: UTC, local time, or a date, which goes before', async () => {
  for (const [settings, base] of [
    [{}, 'utc'],
    [{ localtime: '1' }, 'localtime'],
    [{ localtime: '0', startdate: 'now' }, 'utc'],
    [{ localtime: '1', startdate: '2006-06-17T16:01:21' }, '2006-06-17T16:01:21'],
  ] as const)
    assert.deepEqual((await told(settings)).of('-rtc'), [`base=${base},driftfix=slew`]);
});

test('memory and processors', async () => {
  const small = await told({});
  assert.deepEqual(
    [small.of('-m'), small.of('-smp'), small.of('-cpu')],
    [['512'], ['1,sockets=1,cores=1,maxcpus=1'], ['kvm64']],
  );
  const large = await told({
    memory: 'current=2048',
    sockets: '2',
    cores: '3',
    vcpus: '4',
    cpu: 'host,flags=+aes;-pcid',
  });
  assert.deepEqual(
    [large.of('-m'), large.of('-smp'), large.of('-cpu')],
    [['2048'], ['4,sockets=2,cores=3,maxcpus=6'], ['host,+aes,-pcid']],
  );
  assert.match(
    (await told({ cpu: 'cputype=x86-64-v2-AES,flags=+pcid' })).of('-cpu')[0] ?? '',
    /^qemu64,\+aes,.*,\+pcid$/,
  );
  assert.deepEqual((await told({ cpu: 'host' }, 'tcg')).of('-cpu'), ['max']);
  await assert.rejects(told({ cores: '1', vcpus: '2' }), { code: 'bad-argument' });
});

test('a machine type of this QEMU, without revisions of Proxmox; another becomes the newest of its family', async () => {
  for (const [machine, type, missing] of [
    [undefined, 'pc', undefined],
    ['q35', 'q35', undefined],
    ['pc-i440fx-7.2+pve1', 'pc-i440fx-7.2', undefined],
    ['type=pc-q35-7.2,viommu=intel', 'pc-q35-7.2', undefined],
    ['pc-q35-99.0', 'q35', 'pc-q35-99.0'],
    ['pc-i440fx-99.0', 'pc', 'pc-i440fx-99.0'],
  ] as const) {
    const { of, warnings } = await told(machine === undefined ? {} : { machine });
    assert.match(of('-machine')[0] ?? '', new RegExp(`^type=${type},`));
    assert.equal(warnings.length, missing === undefined ? 0 : 1);
    if (missing !== undefined) assert.ok(warnings[0]?.includes(missing));
  }
});

test('what the firmware tells of the machine: commas are doubled, base64 is taken out', async () => {
  const uuid = '11111111-2222-3333-4444-555555555555';
  const product = Buffer.from('Board, rev 2').toString('base64');
  const { of } = await told({ smbios1: `uuid=${uuid},base64=1,product=${product}` });
  assert.deepEqual(of('-smbios'), [`type=1,uuid=${uuid},product=Board,, rev 2`]);
  assert.deepEqual((await told({ smbios1: `uuid=${uuid},family=plain` })).of('-smbios'), [
    `type=1,uuid=${uuid},family=plain`,
  ]);
  assert.deepEqual((await told({})).of('-smbios'), []);
});

test('display, watchdog, serial ports, tablet, balloon', async () => {
  assert.equal((await deviceOf({}, 'vga')).driver, 'VGA');
  assert.equal((await deviceOf({ vga: 'type=virtio,memory=64' }, 'vga')).driver, 'virtio-vga');
  assert.deepEqual(await deviceOf({ vga: 'none' }, 'vga'), {});
  assert.equal((await deviceOf({}, 'tablet')).driver, 'usb-tablet');
  for (const settings of [{ vga: 'none' }, { vga: 'serial0' }, { tablet: '0' }])
    assert.deepEqual(await deviceOf(settings, 'tablet'), {});
  assert.equal((await deviceOf({ watchdog: 'ib700,action=reset' }, 'watchdog0')).driver, 'ib700');
  assert.ok((await told({ watchdog: 'action=poweroff' })).of('-action').includes('watchdog=poweroff'));
  assert.equal((await deviceOf({ watchdog: 'action=poweroff' }, 'watchdog0')).driver, 'i6300esb');
  assert.equal((await deviceOf({}, 'balloon0')).driver, 'virtio-balloon-pci');
  assert.deepEqual(await deviceOf({ balloon: '0' }, 'balloon0'), {});
  assert.equal((await told({ serial1: 'socket' })).of('-chardev').filter((each) => each.includes('serial1')).length, 1);
});

test('an option that is not known is refused, and named', async () => {
  for (const settings of [
    { smbios1: 'colour=red' },
    { watchdog: 'model=tpm' },
    { vga: 'std,heads=2' },
    { memory: 'much' },
    { cpu: 'host,flags=aes' },
    { cpu: 'host,-kvm' },
    { machine: 'q35,kernel=/boot/vmlinuz' },
  ])
    await assert.rejects(told(settings), {
      code: 'bad-argument',
      message: new RegExp(`^${Object.keys(settings)[0]}:`),
    });
});
