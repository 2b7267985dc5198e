// A tap's rate limit in both directions by `tc`. What the kernel cannot hold is a warning, not an error: a guest without its limit runs.
import { HoldfastError } from '../../util/errors.ts';
import { command, type Signal } from './links.ts';

/** Both token buckets hold this much; Proxmox's number. Smaller ones drop the packets of up to 64 KiB that offloading makes. */
const BURST_BYTES = 1 << 20;

/** Arguments of `tc` for what goes to the guest; `tc` says bps for bytes a second. */
export function downwardCommands(tap: string, bytesPerSecond: number): string[][] {
  const [rate, burst] = [`${bytesPerSecond}bps`, `${BURST_BYTES}b`];
  return [
    ['qdisc', 'add', 'dev', tap, 'root', 'handle', '1:', 'htb', 'default', '1'],
    [
      'class',
      'add',
      'dev',
      tap,
      'parent',
      '1:',
      'classid',
      '1:1',
      'htb',
      'rate',
      rate,
      'burst',
      burst,
      'cburst',
      burst,
    ],
  ];
}

/** Ways to drop what comes too fast from the guest, by the filters that kernels have: any of them will do. */
export function upwardCommands(tap: string, bytesPerSecond: number): string[][] {
  const police = ['police', 'rate', `${bytesPerSecond}bps`, 'burst', `${BURST_BYTES}b`, 'mtu', '64kb', 'drop'];
  const filter = ['filter', 'add', 'dev', tap, 'parent', 'ffff:', 'protocol', 'all', 'prio', '50'];
  return [
    [...filter, 'basic', ...police],
    [...filter, 'matchall', 'action', ...police],
    [...filter, 'u32', 'match', 'u32', '0', '0', ...police],
  ];
}

/** Limits a fresh tap, which has no limits yet. Returns what could not be done, for a person. @throws `tool-missing`, `timed-out`, `aborted`. */
export async function limitRate(tap: string, bytesPerSecond: number, signal: Signal): Promise<string[]> {
  const warnings: string[] = [];
  const refused = (direction: string, error: unknown) => {
    if (!(error instanceof HoldfastError) || error.code !== 'guest-failed') throw error;
    warnings.push(
      `${tap}: what goes ${direction} the guest is not limited, the kernel cannot: ${String(error.data.stderr).trim()}`,
    );
  };
  try {
    for (const args of downwardCommands(tap, bytesPerSecond)) await command('tc', args, signal);
  } catch (error) {
    refused('to', error);
  }
  try {
    await command('tc', ['qdisc', 'add', 'dev', tap, 'handle', 'ffff:', 'ingress'], signal);
    await firstThatWorks(upwardCommands(tap, bytesPerSecond), signal);
  } catch (error) {
    refused('from', error);
  }
  return warnings;
}

/** @throws the error of the first one when none works. */
async function firstThatWorks(ways: readonly string[][], signal: Signal): Promise<void> {
  let first: unknown;
  for (const args of ways) {
    try {
      await command('tc', args, signal);
      return;
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'guest-failed') throw error;
      first ??= error;
    }
  }
  throw first;
}
