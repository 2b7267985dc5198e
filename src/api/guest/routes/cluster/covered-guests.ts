// Which guests backup jobs cover, and which of their disks are in a backup.
import { parseDrive } from '../../../../guests/config/drive.ts';
import type { JobOptions } from '../../../../jobs/schedule/job.ts';
import { HoldfastError } from '../../../../util/errors.ts';
import { type GuestCall, LIST_ANSWER_MS, may } from '../../method.ts';
import { DISK_KEY, flag, given } from '../parameters.ts';

const IS_DISK = new RegExp(DISK_KEY);

/** A guest as a job chooses it; `tags` as its configuration has them. */
export interface Choosable {
  readonly vmid: number;
  readonly tags?: string | undefined;
  /** The one that it is in. */
  readonly pool?: string | undefined;
}

/**
 * Which guests a job backs up: those that it names, or of all or of its pool those that it does not exclude. Of all only those that have one of
 * its tags, if it has any.
 */
export function coverage({ vmid, all, pool, exclude = [], tags }: JobOptions): (guest: Choosable) => boolean {
  if (vmid !== undefined) {
    const named = new Set(vmid as readonly number[]);
    return (guest) => named.has(guest.vmid);
  }
  const excluded = new Set(exclude as readonly number[]);
  if (pool !== undefined) return (guest) => guest.pool === pool && !excluded.has(guest.vmid);
  const tagged = tags === undefined ? undefined : new Set(tags as readonly string[]);
  return (guest) =>
    all === true &&
    !excluded.has(guest.vmid) &&
    (tagged === undefined || (guest.tags ?? '').split(';').some((tag) => tagged.has(tag)));
}

/** Of a job: its guests by number, as far as the caller may look at them, with their disks. Guests that are named and not there are `unknown`. */
export async function includedVolumes(call: GuestCall, options: JobOptions) {
  const { guests, pools } = call.services;
  const poolOf = pools.poolsOfGuests();
  const there = new Map((await guests.list(LIST_ANSWER_MS)).map((each) => [each.vmid, each]));
  const named = (options.vmid as readonly number[] | undefined) ?? [...there.keys()];
  const isCovered = coverage(options);
  const isWanted = (vmid: number): boolean =>
    isCovered({ ...(there.get(vmid) ?? { vmid }), pool: poolOf.get(vmid) }) && may(call, `/vms/${vmid}`, 'VM.Audit');
  const wanted = named.filter(isWanted);
  const rows = [];
  for (const id of wanted.sort((one, other) => one - other)) {
    call.signal.throwIfAborted();
    const guest = there.get(id);
    if (guest === undefined) rows.push({ id, type: 'unknown' as const, children: [] });
    else rows.push({ id, type: 'qemu' as const, ...given({ name: guest.name }), children: await disksOf(call, id) });
  }
  return rows;
}

async function disksOf({ services }: GuestCall, vmid: number) {
  const values = await settingsOf(services.guests.config(vmid, {}));
  return Object.entries(values)
    .filter(([key]) => IS_DISK.test(key) && !key.startsWith('unused'))
    .map(([key, text]) => ({ key, drive: parseDrive(key, text) }))
    .filter(({ drive }) => drive.media === 'disk')
    .map(({ key, drive }) => ({
      id: key,
      name: drive.file,
      included: flag(drive.backup),
      reason: drive.backup ? 'enabled' : 'disabled: backup=0',
    }));
}

/** A guest that went meanwhile has no disks. */
async function settingsOf(config: Promise<{ readonly values: Readonly<Record<string, string>> }>) {
  try {
    return (await config).values;
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'not-found') return {};
    throw error;
  }
}
