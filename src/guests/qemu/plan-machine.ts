// A configuration as a machine that can be started: everything looked up, nothing made yet. Keys that we do not act on are told.
import type { GuestId } from '../../schema/guest-names.ts';
import { parseAgentOption } from '../config/agent-option.ts';
import { parseDrive } from '../config/drive.ts';
import { MEMORY_FORMAT, SMBIOS_FORMAT, VGA_FORMAT, WATCHDOG_FORMAT } from '../config/hardware-formats.ts';
import { type Properties, type PropertyFormat, parseProperties } from '../config/property-string.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { Accelerator } from './accelerator.ts';
import type { MachinePlan, NetPlan } from './command-line.ts';
import { planFirmware } from './firmware.ts';
import { chooseMachineType } from './machine-type.ts';
import type { PlannedDisk } from './plan-disks.ts';
import type { TpmPlan } from './tpm.ts';

export interface PlanParts {
  readonly id: GuestId;
  readonly config: VmConfig;
  readonly disks: readonly PlannedDisk[];
  readonly nets: readonly NetPlan[];
  readonly accelerator: Accelerator;
  readonly tpm: TpmPlan | undefined;
  readonly machineTypes: readonly string[];
}

/** @throws `bad-argument`, `tool-missing` (firmware). */
export async function planMachine(
  { id, config, disks, nets, accelerator, tpm, machineTypes }: PlanParts,
  warn: (line: string) => void,
): Promise<MachinePlan> {
  const { values } = config;
  const machine = chooseMachineType(values.get('machine'), machineTypes);
  if (machine.missing !== undefined)
    warn(`machine type ${machine.missing} is not one of this QEMU; the guest gets ${machine.type}`);
  const agent = parseAgentOption(values.get('agent') ?? '0');
  const { type: display = 'std' } = propertiesOf(values, 'vga', VGA_FORMAT);
  const { current: memory } = propertiesOf(values, 'memory', MEMORY_FORMAT);
  const vmgenid = values.get('vmgenid');
  return {
    id,
    name: values.get('name') ?? `VM ${id}`,
    machine,
    accelerator,
    processor: {
      cpu: values.get('cpu'),
      sockets: whole(values.get('sockets'), 1),
      cores: whole(values.get('cores'), 1),
      vcpus: values.has('vcpus') ? whole(values.get('vcpus'), 1) : undefined,
    },
    memoryMiB: whole(memory, 512),
    hasBalloon: values.get('balloon') !== '0',
    hasAcpi: values.get('acpi') !== '0',
    hasTablet: values.get('tablet') !== '0' && display !== 'none' && !display.startsWith('serial'),
    clock: clockOf(values),
    reboots: values.get('reboot') !== '0',
    smbios: smbiosFields(values),
    generationId: vmgenid === undefined || vmgenid === '0' ? undefined : vmgenid,
    scsiController: values.get('scsihw') ?? 'lsi',
    disks,
    nets,
    firmware: await firmware(values, machine.family, warn),
    tpm,
    serials: [0, 1, 2, 3].filter((index) => values.get(`serial${index}`) === 'socket'),
    display,
    guestAgent: agent.enabled ? agent.type : undefined,
    hasRandomSource: values.has('rng0'),
    watchdog: watchdog(values),
  };
}

function whole(text: string | undefined, byDefault: number): number {
  return text === undefined ? byDefault : Number(text);
}

type Values = VmConfig['values'];

/** None of a key that is not set. @throws `bad-argument`. */
function propertiesOf(values: Values, key: string, format: PropertyFormat): Properties {
  const text = values.get(key);
  return text === undefined ? {} : parseProperties(text, format, key);
}

function clockOf(values: Values): string {
  const date = values.get('startdate') ?? 'now';
  if (date !== 'now') return date;
  return values.get('localtime') === '1' ? 'localtime' : 'utc';
}

/** Proxmox keeps every field but the uuid in base64 when `base64=1`. */
function smbiosFields(values: Values): Record<string, string> {
  const { base64, ...rest } = propertiesOf(values, 'smbios1', SMBIOS_FORMAT);
  const fields: Record<string, string> = {};
  for (const key of ['uuid', 'serial', 'manufacturer', 'product', 'version', 'sku', 'family']) {
    const value = rest[key];
    if (value === undefined) continue;
    fields[key] = base64 === '1' && key !== 'uuid' ? Buffer.from(value, 'base64').toString() : value;
  }
  return fields;
}

async function firmware(
  values: Values,
  family: MachinePlan['machine']['family'],
  warn: (line: string) => void,
): Promise<MachinePlan['firmware']> {
  if (values.get('bios') !== 'ovmf') return undefined;
  const efidisk = values.get('efidisk0');
  if (efidisk === undefined)
    warn('bios: ovmf without an efidisk0: what the guest stores in its firmware is lost at its end');
  return await planFirmware(efidisk === undefined ? undefined : parseDrive('efidisk0', efidisk), family);
}

function watchdog(values: Values): MachinePlan['watchdog'] {
  if (!values.has('watchdog')) return undefined;
  const { model = 'i6300esb', action = 'none' } = propertiesOf(values, 'watchdog', WATCHDOG_FORMAT);
  return { model, action };
}
