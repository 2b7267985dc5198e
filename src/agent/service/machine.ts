// What an agent says of the machine that it runs on. The machine's id goes out as a hash: it is for this purpose alone.
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { readIfPresent } from '../../util/atomic-file.ts';
import { createPrivateFile } from '../keys/private-file.ts';

const MACHINE_ID_FILES = ['/etc/machine-id', '/var/lib/dbus/machine-id'];
const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id';
const OWN_ID = 'machine-id';

export interface Machine {
  readonly machineId: string;
  /** Another one after each start of the machine. */
  readonly bootId: string;
  readonly hostName: string;
}

/** A machine without an id of its own gets one in the agent's state directory. */
export async function describeMachine(stateDirectory: string, files = MACHINE_ID_FILES): Promise<Machine> {
  return {
    machineId: createHash('sha256')
      .update(`holdfast node ${await machineIdOf(stateDirectory, files)}`)
      .digest('hex'),
    bootId: (await readFile(BOOT_ID_FILE, 'utf8').catch(() => 'unknown')).trim(),
    hostName: hostname().slice(0, 255),
  };
}

async function machineIdOf(stateDirectory: string, files: readonly string[]): Promise<string> {
  for (const file of files) {
    const text = (await readFile(file, 'utf8').catch(() => '')).trim();
    if (/^[0-9a-f]{32}$/.test(text)) return text;
  }
  const path = join(stateDirectory, OWN_ID);
  const known = await readIfPresent(path);
  if (known !== undefined) return known.trim();
  const made = randomBytes(16).toString('hex');
  await mkdir(stateDirectory, { recursive: true, mode: 0o700 });
  await createPrivateFile(path, `${made}\n`, 'id of this machine');
  return made;
}
