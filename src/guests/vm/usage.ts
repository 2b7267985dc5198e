// What a guest that runs takes of its host and has moved since it started: processor time from the kernel, disks from QEMU, network cards from their taps.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { GuestId } from '../../schema/guest-names.ts';
import { tapName } from '../network/connect-network.ts';

/** Of the kernel's times in /proc, on every architecture that Debian has. */
const TICKS_PER_SECOND = 100;
/** Of two looks that are closer the second tells what the first did: a few ticks say nothing. */
const MIN_SPAN_SECONDS = 1;
const MAX_KEPT = 10_000;
const LINKS = '/proc/self/net/dev';

export interface NetworkTraffic {
  readonly inBytes: number;
  readonly outBytes: number;
}

interface Look {
  /** Start of the process, in ticks: a pid may be given again. */
  readonly startTicks: number;
  readonly pid: number;
  readonly atSeconds: number;
  readonly usedSeconds: number;
  /** Processors that were busy in the span before this look. */
  readonly busy: number;
}

/** What processors guests keep busy, from look to look. The first look at a guest tells the mean since its start. */
export class ProcessorMeter {
  readonly #looks = new Map<GuestId, Look>();
  readonly #proc: string;

  constructor(proc = '/proc') {
    this.#proc = proc;
  }

  /** 0 to 1, of so many processors; undefined when the process is gone. */
  async look(id: GuestId, pid: number, processors: number): Promise<number | undefined> {
    const now = await this.#read(pid);
    if (now === undefined) {
      this.#looks.delete(id);
      return undefined;
    }
    const kept = this.#looks.get(id);
    const isSame = kept?.pid === pid && kept.startTicks === now.startTicks;
    const before = isSame ? kept : { atSeconds: now.startTicks / TICKS_PER_SECOND, usedSeconds: 0, busy: 0 };
    const spanSeconds = now.atSeconds - before.atSeconds;
    const isTooSoon = isSame && spanSeconds < MIN_SPAN_SECONDS;
    const busy = isTooSoon
      ? before.busy
      : Math.max(0, now.usedSeconds - before.usedSeconds) / Math.max(spanSeconds, 0.01);
    if (!isTooSoon) this.#keep(id, { ...now, pid, busy });
    return Math.min(1, busy / Math.max(1, processors));
  }

  #keep(id: GuestId, look: Look): void {
    this.#looks.delete(id);
    this.#looks.set(id, look);
    const [oldest] = this.#looks.keys();
    if (this.#looks.size > MAX_KEPT && oldest !== undefined) this.#looks.delete(oldest);
  }

  async #read(pid: number): Promise<Pick<Look, 'startTicks' | 'atSeconds' | 'usedSeconds'> | undefined> {
    const read = async (name: string): Promise<string> =>
      await readFile(join(this.#proc, name), 'utf8').catch(() => '');
    const [stat, uptime] = await Promise.all([read(`${pid}/stat`), read('uptime')]);
    // The name of the program stands in brackets, and may have spaces and brackets itself.
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const [user, system, startTicks] = [fields[11], fields[12], fields[19]];
    const atSeconds = Number.parseFloat(uptime);
    if (user === undefined || system === undefined || startTicks === undefined || Number.isNaN(atSeconds))
      return undefined;
    return { startTicks, atSeconds, usedSeconds: (user + system) / TICKS_PER_SECOND };
  }
}

/** Names of links and what went through each, as the host sees it. Of the network namespace that this process is in. */
export async function readLinks(file = LINKS): Promise<ReadonlyMap<string, NetworkTraffic>> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return new Map(
    [...text.matchAll(/^\s*([^\s:]+):\s*(.*)$/gm)].map(([, name = '', rest = '']) => {
      const numbers = rest.split(/\s+/).map(Number);
      return [name, { inBytes: numbers[0] ?? 0, outBytes: numbers[8] ?? 0 }];
    }),
  );
}

/** As the guest sees it, all cards with a tap together; those of the user-mode network are counted by nobody. */
export function networkTraffic(id: GuestId, links: ReadonlyMap<string, NetworkTraffic>): NetworkTraffic {
  const taps = tapName(id, 0).slice(0, -1);
  const own = [...links].flatMap(([name, traffic]) => (name.startsWith(taps) ? [traffic] : []));
  return {
    // What the host sends through a tap is what the guest gets.
    inBytes: own.reduce((sum, { outBytes }) => sum + outBytes, 0),
    outBytes: own.reduce((sum, { inBytes }) => sum + inBytes, 0),
  };
}
