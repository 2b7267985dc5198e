// The UEFI firmware of Debian's package ovmf: code that every guest shares, and what the variables of a new guest start from. Code and variables lie side by
// side below 4 GiB, so the firmware finds its variables only when they have exactly the size that its code was built for.
import { access } from 'node:fs/promises';
import { HoldfastError } from '../../util/errors.ts';
import type { Drive } from '../config/drive.ts';

const DIRECTORY = '/usr/share/OVMF';
const BUILDS = {
  '2m': { code: 'OVMF_CODE.fd', variables: 'OVMF_VARS.fd', variablesBytes: 131_072 },
  '4m': { code: 'OVMF_CODE_4M.fd', variables: 'OVMF_VARS_4M.fd', variablesBytes: 540_672 },
} as const;
/** Checks what it boots against keys in its variables, and protects them by the processor's management mode, which a q35 has. */
const SECURE_CODE = 'OVMF_CODE_4M.secboot.fd';
const ENROLLED_VARIABLES = 'OVMF_VARS_4M.ms.fd';

export interface FirmwarePlan {
  /** Read-only code; the variables are the disk `efidisk0`. */
  readonly code: string;
  /** Only the firmware itself may write variables. */
  readonly isSecure: boolean;
}

/** The firmware that fits `efidisk0`, or the larger one without such. @throws `tool-missing`. */
export async function planFirmware(efidisk: Drive | undefined, family: 'i440fx' | 'q35'): Promise<FirmwarePlan> {
  const isSecure = hasEnrolledKeys(efidisk) && family === 'q35';
  const name = isSecure ? SECURE_CODE : BUILDS[efidisk === undefined ? '4m' : buildOf(efidisk)].code;
  return { code: await requireFile(name), isSecure };
}

/** Exact, in bytes. */
export function variablesBytes(efidisk: Pick<Drive, 'rest'>): number {
  return BUILDS[buildOf(efidisk)].variablesBytes;
}

/** What new variables are a copy of; with `pre-enrolled-keys` (of the 4m build) those that trust Microsoft's keys. @throws `tool-missing`. */
export async function variablesTemplate(efidisk: Drive): Promise<string> {
  return await requireFile(hasEnrolledKeys(efidisk) ? ENROLLED_VARIABLES : BUILDS[buildOf(efidisk)].variables);
}

/** Proxmox's default is the small build. */
function buildOf({ rest }: Pick<Drive, 'rest'>): keyof typeof BUILDS {
  return rest.efitype === '4m' ? '4m' : '2m';
}

function hasEnrolledKeys(efidisk: Drive | undefined): boolean {
  return efidisk !== undefined && buildOf(efidisk) === '4m' && efidisk.rest['pre-enrolled-keys'] === '1';
}

async function requireFile(name: string): Promise<string> {
  const path = `${DIRECTORY}/${name}`;
  try {
    await access(path);
    return path;
  } catch (cause) {
    throw new HoldfastError('tool-missing', `bios: ovmf needs ${path}; install the Debian package ovmf`, { cause });
  }
}
