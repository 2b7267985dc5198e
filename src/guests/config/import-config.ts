// A configuration out of a backup or an archive of vzdump: what belonged to the guest that it was, and not to the one that it
// becomes, is taken off.
import { HoldfastError } from '../../util/errors.ts';
import { isUnusedKey } from './drive.ts';
import { parseVmConfig, type VmConfig, withSettings } from './vm-config.ts';

/** What an archive of vzdump says of a disk. */
export interface ArchivedDisk {
  /** The device's name in the archive: `drive-scsi0`. */
  readonly device: string;
  /** The storage on which it was; empty when the archive does not say. */
  readonly storage: string;
  /** `raw`, `qcow2`; empty when the archive does not say. */
  readonly format: string;
}

export interface ImportedConfig {
  readonly config: VmConfig;
  /** By key: `scsi0`. */
  readonly diskMap: ReadonlyMap<string, ArchivedDisk>;
}

const MAP_PREFIX = '#qmdump#map:';
const MAP_LINE = /^#qmdump#map:([a-z]+\d+):([A-Za-z0-9_-]+):([A-Za-z0-9._-]*):([a-z0-9]*):$/;

/** Keys of the machine's past: its lock, its place among snapshots, what ran when. */
const PAST = ['lock', 'parent', 'digest', 'snaptime', 'snapstate', 'vmstate', 'runningmachine', 'runningcpu'];

/** Without snapshots, pending changes, special and unused things. @throws `bad-argument` with the line's number; `too-large`. */
export function cleanImportedConfig(text: string): ImportedConfig {
  const diskMap = new Map<string, ArchivedDisk>();
  const lines = text.split('\n').map((whole, index) => {
    const line = whole.trimEnd();
    if (!line.startsWith(MAP_PREFIX)) return whole;
    const [, key, device, storage, format] = MAP_LINE.exec(line) ?? [];
    if (key === undefined || device === undefined || storage === undefined || format === undefined || diskMap.has(key))
      throw new HoldfastError('bad-argument', `the configuration to import, line ${index + 1}, does not map a disk`);
    diskMap.set(key, { device, storage, format });
    return '';
  });
  const whole = parseVmConfig(lines.join('\n'), 'the configuration to import');
  const config = { ...whole, pending: undefined, snapshots: new Map(), special: new Map() };
  const unused = [...whole.values.keys()].filter(isUnusedKey);
  return { config: withSettings(config, {}, [...PAST, ...unused]), diskMap };
}
