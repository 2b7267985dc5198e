// What the name of a vzdump archive says: the guest, and when its backup began, in the local time of its host.
import { type GroupName, parseGroup } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';

const VMA = /^vzdump-qemu-([1-9]\d{2,8})-(\d{4})_(\d\d)_(\d\d)-(\d\d)_(\d\d)_(\d\d)\.vma(\.(zst|gz|lzo))?$/;

export interface VzdumpName {
  readonly group: GroupName;
  /** Unix seconds, by this process's time zone. */
  readonly time: number;
}

/** Reads a file name; undefined when it is not that of a virtual machine's archive. @throws `bad-name` when its time is none in this time zone. */
export function parseVzdumpName(name: string): VzdumpName | undefined {
  const match = VMA.exec(name);
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(2, 8).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const date = new Date(year, month - 1, day, hour, minute, second);
  const read = [
    date.getFullYear(),
    date.getMonth() + 1,
    date.getDate(),
    date.getHours(),
    date.getMinutes(),
    date.getSeconds(),
  ];
  if (read.join() !== [year, month, day, hour, minute, second].join() || date.getTime() < 0)
    throw new HoldfastError(
      'bad-name',
      `${name} has a time that is none in this machine's time zone; set TZ to that of the host that made it, or write: --time 2026-01-31T02:00:00+01:00`,
      { data: { name } },
    );
  return { group: parseGroup(`vm/${match[1]}`), time: Math.floor(date.getTime() / 1000) };
}
