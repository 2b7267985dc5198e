// Where each device sits on the PCI buses of the machine. Fixed, because a guest's operating system takes a device that moved for another one;
// the places are those of Proxmox, so that guests that come from there keep their network names.

export interface PciAddress {
  readonly bus: string;
  readonly addr: string;
}

/** Devices on the first bus. */
const FIRST_BUS: Readonly<Record<string, number>> = {
  piix3: 0x1,
  vga: 0x2,
  balloon0: 0x3,
  watchdog: 0x4,
  scsihw0: 0x5,
  'pci.3': 0x5,
  scsihw1: 0x6,
  ahci0: 0x7,
  qga0: 0x8,
  spice: 0x9,
  virtio0: 0xa,
  virtio1: 0xb,
  virtio2: 0xc,
  virtio3: 0xd,
  virtio4: 0xe,
  virtio5: 0xf,
  net0: 0x12,
  net1: 0x13,
  net2: 0x14,
  net3: 0x15,
  net4: 0x16,
  net5: 0x17,
  'pci.1': 0x1e,
  'pci.2': 0x1f,
};

/** @throws RangeError for a device that has no place: a bug of ours. */
export function pciAddress(device: string): PciAddress {
  const first = FIRST_BUS[device];
  if (first !== undefined) return { bus: 'pci.0', addr: hex(first) };
  const [, kind, digits] = /^([a-z]+)(\d+)$/.exec(device) ?? [];
  const index = Number(digits);
  // Cards 6 to 31 and the last virtio disks are behind bridges.
  if (kind === 'net' && index >= 6 && index <= 31)
    return index <= 17 ? { bus: 'pci.1', addr: hex(index - 5) } : { bus: 'pci.2', addr: hex(index - 17) };
  if (kind === 'virtio' && index >= 6 && index <= 15) return { bus: 'pci.2', addr: hex(index + 9) };
  if (kind === 'virtioscsi' && index <= 30) return { bus: 'pci.3', addr: hex(index + 1) };
  if (kind === 'scsihw' && index >= 2 && index <= 4) return { bus: 'pci.1', addr: hex(index + 0x19) };
  if (device === 'rng0') return { bus: 'pci.1', addr: hex(0x1d) };
  throw new RangeError(`${device} has no place on a PCI bus`);
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
