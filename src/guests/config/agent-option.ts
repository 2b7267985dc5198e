// What the configuration says of the agent in the guest: the value of `agent`.
import { type PropertyFormat, parseProperties } from './property-string.ts';

const FORMAT: PropertyFormat = {
  defaultKey: 'enabled',
  required: ['enabled'],
  aliases: { 'freeze-fs-on-backup': 'freeze-fs', 'guest-fsfreeze': 'freeze-fs' },
  keys: {
    enabled: { kind: 'boolean' },
    'freeze-fs': { kind: 'boolean' },
    fstrim_cloned_disks: { kind: 'boolean' },
    type: { kind: 'enum', values: ['virtio', 'isa'] },
  },
};

export interface AgentOption {
  readonly enabled: boolean;
  /** Whether a backup may freeze file systems through the agent. */
  readonly freezeFs: boolean;
  readonly fstrimClonedDisks: boolean;
  /** The port on which the guest finds it. */
  readonly type: 'virtio' | 'isa';
}

/** Undefined, the key is not set, is an agent that is not enabled. @throws `bad-argument`. */
export function parseAgentOption(value: string | undefined): AgentOption {
  const found = parseProperties(value ?? '0', FORMAT, 'agent');
  return {
    enabled: found.enabled === '1',
    freezeFs: found['freeze-fs'] !== '0',
    fstrimClonedDisks: found.fstrim_cloned_disks === '1',
    type: found.type === 'isa' ? 'isa' : 'virtio',
  };
}
