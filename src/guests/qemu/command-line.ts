// A planned machine as QEMU's arguments. Pure: what it names was looked up and made before.
import type { GuestId } from '../../schema/guest-names.ts';
import type { RunDirectory } from '../node-directory.ts';
import type { Accelerator } from './accelerator.ts';
import { controllerDevices, type DiskPlan, diskDevice, diskNodes, nodeNames, throttleGroup } from './disk-nodes.ts';
import type { FirmwarePlan } from './firmware.ts';
import type { MachineChoice } from './machine-type.ts';
import { pciAddress } from './pci-addresses.ts';
import { type ProcessorSettings, processorArguments } from './processor.ts';
import { type TpmPlan, tpmArguments } from './tpm.ts';

export interface NetPlan {
  /** `net0`, ... */
  readonly key: string;
  readonly model: string;
  readonly macaddr: string;
  /** What a virtio card tells the guest to use. */
  readonly hostMtu: number | undefined;
  readonly queues: number | undefined;
  /** QEMU's `-netdev`, with the card's key as its id: a tap or user-mode network. */
  readonly netdev: Readonly<Record<string, unknown>>;
  readonly bootIndex: number | undefined;
}

export interface MachinePlan {
  readonly id: GuestId;
  readonly name: string;
  readonly machine: MachineChoice;
  readonly accelerator: Accelerator;
  readonly processor: ProcessorSettings;
  readonly memoryMiB: number;
  readonly hasBalloon: boolean;
  readonly hasAcpi: boolean;
  readonly hasTablet: boolean;
  /** What the clock shows at the start: `utc`, `localtime`, or a date. */
  readonly clock: string;
  /** Otherwise a reboot of the guest's system is its end. */
  readonly reboots: boolean;
  /** UUID of the SMBIOS system, and the other fields of `smbios1`. */
  readonly smbios: Readonly<Record<string, string>>;
  readonly generationId: string | undefined;
  readonly scsiController: string;
  readonly disks: readonly DiskPlan[];
  readonly nets: readonly NetPlan[];
  readonly firmware: FirmwarePlan | undefined;
  readonly tpm: TpmPlan | undefined;
  /** Indexes of serial ports with a socket. */
  readonly serials: readonly number[];
  readonly display: string;
  readonly guestAgent: 'virtio' | 'isa' | undefined;
  readonly hasRandomSource: boolean;
  readonly watchdog: { readonly model: string; readonly action: string } | undefined;
}

const NET_DRIVERS: Readonly<Record<string, string>> = { virtio: 'virtio-net-pci' };
const AGENT_PORT = 'org.qemu.guest_agent.0';

/** Starts stopped (`-S`); a guest that powers itself off stays there until its bitmaps are put away. */
export function commandLine(plan: MachinePlan, run: RunDirectory): string[] {
  const json = (option: string, values: readonly object[]): string[] =>
    values.flatMap((value) => [option, JSON.stringify(value)]);
  const controllers = { family: plan.machine.family, scsi: plan.scsiController };
  const drives = plan.disks.filter((disk) => disk.bus !== 'efidisk');
  const withMedium = plan.disks.filter((disk) => disk.path !== undefined);
  return [
    ...['-name', `guest=${plan.name.replaceAll(',', ',,')},process=holdfast-vm-${plan.id}`],
    ...['-pidfile', run.pidFile, '-S', '-action', `shutdown=pause,reboot=${plan.reboots ? 'reset' : 'shutdown'}`],
    ...['-no-user-config', '-nodefaults', '-display', 'none'],
    ...monitors(run),
    ...['-machine', machineOption(plan), '-accel', plan.accelerator === 'tcg' ? 'tcg,thread=multi' : 'kvm'],
    ...processorArguments(plan.processor, plan.accelerator),
    ...['-m', String(plan.memoryMiB)],
    ...['-rtc', `base=${plan.clock},driftfix=slew`],
    ...smbios(plan.smbios),
    ...json('-object', withMedium.map(throttleGroup)),
    ...json('-blockdev', [...firmwareNodes(plan.firmware), ...withMedium.flatMap(diskNodes)]),
    ...(plan.firmware?.isSecure ? ['-global', 'driver=cfi.pflash01,property=secure,value=on'] : []),
    ...json('-device', busDevices(plan)),
    ...json('-device', controllerDevices(drives, controllers)),
    ...json(
      '-device',
      drives.map((disk) => diskDevice(disk, controllers)),
    ),
    ...json(
      '-netdev',
      plan.nets.map(({ netdev }) => netdev),
    ),
    ...json('-device', plan.nets.map(netDevice)),
    ...(plan.tpm === undefined ? [] : tpmArguments(plan.tpm, run)),
    ...plan.serials.flatMap((index) => serialPort(index, run)),
    ...(plan.guestAgent === undefined ? [] : agentChannel(plan.guestAgent, run)),
    ...json('-device', otherDevices(plan)),
    ...(plan.hasRandomSource ? ['-object', 'rng-random,id=rng-source,filename=/dev/urandom'] : []),
    ...(plan.watchdog === undefined ? [] : ['-action', `watchdog=${plan.watchdog.action}`]),
  ];
}

function monitors(run: RunDirectory): string[] {
  const sockets = [run.controlMonitor, run.backupMonitor, run.eventMonitor];
  return sockets.flatMap((path, index) => [
    '-chardev',
    `socket,id=monitor${index},path=${path.replaceAll(',', ',,')},server=on,wait=off`,
    '-mon',
    `chardev=monitor${index},mode=control`,
  ]);
}

function machineOption({ machine, hasAcpi, firmware, disks }: MachinePlan): string {
  const variables = disks.some((disk) => disk.bus === 'efidisk');
  return [
    `type=${machine.type}`,
    `acpi=${hasAcpi ? 'on' : 'off'}`,
    'usb=off',
    'vmport=off',
    ...(firmware?.isSecure ? ['smm=on'] : []),
    ...(firmware === undefined ? [] : ['pflash0=firmware']),
    ...(firmware === undefined || !variables ? [] : [`pflash1=${nodeNames('efidisk0').throttle}`]),
  ].join(',');
}

function smbios(fields: Readonly<Record<string, string>>): string[] {
  const parts = Object.entries(fields).map(([key, value]) => `${key}=${value.replaceAll(',', ',,')}`);
  return parts.length === 0 ? [] : ['-smbios', `type=1,${parts.join(',')}`];
}

function firmwareNodes(firmware: FirmwarePlan | undefined): object[] {
  if (firmware === undefined) return [];
  const file = { driver: 'file', filename: firmware.code };
  return [{ driver: 'raw', 'node-name': 'firmware', 'read-only': true, file }];
}

/** Bridges that some device is behind; on a q35 the conventional bus itself is behind one. */
function busDevices(plan: MachinePlan): object[] {
  const behind = new Set<string>();
  for (const { key, bus, index } of plan.disks) {
    if (bus === 'virtio') behind.add(pciAddress(key).bus);
    if (bus === 'scsi' && plan.scsiController === 'virtio-scsi-single') behind.add('pci.3');
    if (bus === 'scsi' && index > 13) behind.add('pci.1');
  }
  for (const { key } of plan.nets) behind.add(pciAddress(key).bus);
  if (plan.hasRandomSource) behind.add('pci.1');
  const first =
    plan.machine.family === 'q35'
      ? [
          { driver: 'i82801b11-bridge', id: 'pcidmi', bus: 'pcie.0', addr: '0x1e' },
          { driver: 'pci-bridge', id: 'pci.0', bus: 'pcidmi', addr: '0x1', chassis_nr: 10 },
        ]
      : [];
  const bridges = ['pci.1', 'pci.2', 'pci.3'].filter((bus) => behind.has(bus));
  return [
    ...first,
    ...bridges.map((id) => ({ driver: 'pci-bridge', id, chassis_nr: Number(id.slice(4)), ...pciAddress(id) })),
  ];
}

function netDevice(net: NetPlan): object {
  const isVirtio = net.model === 'virtio';
  return {
    driver: NET_DRIVERS[net.model] ?? net.model,
    id: `${net.key}-card`,
    netdev: net.netdev.id,
    mac: net.macaddr,
    ...(isVirtio && net.hostMtu !== undefined && { host_mtu: net.hostMtu }),
    ...(isVirtio && net.queues !== undefined && { mq: true, vectors: 2 * net.queues + 2 }),
    ...(net.bootIndex !== undefined && { bootindex: net.bootIndex }),
    ...pciAddress(net.key),
  };
}

function serialPort(index: number, run: RunDirectory): string[] {
  const path = run.serial(index).replaceAll(',', ',,');
  return [
    ...['-chardev', `socket,id=serial${index},path=${path},server=on,wait=off`],
    ...['-device', JSON.stringify({ driver: 'isa-serial', chardev: `serial${index}`, index })],
  ];
}

function agentChannel(kind: 'virtio' | 'isa', run: RunDirectory): string[] {
  const path = run.guestAgent.replaceAll(',', ',,');
  const devices =
    kind === 'isa'
      ? [{ driver: 'isa-serial', chardev: 'agent', index: 3 }]
      : [
          { driver: 'virtio-serial-pci', id: 'qga0', ...pciAddress('qga0') },
          { driver: 'virtserialport', bus: 'qga0.0', nr: 1, chardev: 'agent', name: AGENT_PORT },
        ];
  return [
    ...['-chardev', `socket,id=agent,path=${path},server=on,wait=off`],
    ...devices.flatMap((device) => ['-device', JSON.stringify(device)]),
  ];
}

const DISPLAYS: Readonly<Record<string, string>> = {
  std: 'VGA',
  cirrus: 'cirrus-vga',
  vmware: 'vmware-svga',
  qxl: 'qxl-vga',
  virtio: 'virtio-vga',
};

function otherDevices(plan: MachinePlan): object[] {
  const display = DISPLAYS[plan.display];
  const uhci = { driver: 'piix3-usb-uhci', id: 'uhci', ...pciAddress('piix3'), addr: '0x1.0x2' };
  return [
    ...(display === undefined ? [] : [{ driver: display, id: 'vga', ...pciAddress('vga') }]),
    // The chip set of an i440fx sits in that slot and has a function for it; on a q35 it is a slot of its own.
    ...(plan.hasTablet ? [uhci, { driver: 'usb-tablet', id: 'tablet', bus: 'uhci.0', port: '1' }] : []),
    ...(plan.hasBalloon ? [{ driver: 'virtio-balloon-pci', id: 'balloon0', ...pciAddress('balloon0') }] : []),
    ...(plan.generationId === undefined ? [] : [{ driver: 'vmgenid', guid: plan.generationId }]),
    ...(plan.hasRandomSource
      ? [
          {
            driver: 'virtio-rng-pci',
            id: 'rng0',
            rng: 'rng-source',
            'max-bytes': 1024,
            period: 1000,
            ...pciAddress('rng0'),
          },
        ]
      : []),
    ...(plan.watchdog === undefined
      ? []
      : [
          {
            driver: plan.watchdog.model,
            id: 'watchdog0',
            ...(plan.watchdog.model === 'i6300esb' && pciAddress('watchdog')),
          },
        ]),
  ];
}
