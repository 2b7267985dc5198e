// UPIDs of the guest dialect have nine fields: the number that tells tasks of one second apart stands where Proxmox VE has the start of the
// process, which no client looks at. So the whole UPID is found again by node, process, second, type and that number.
import { parseUpid } from '../../schema/upid.ts';
import { ParameterError } from '../dialect/failure.ts';
import type { TaskCalls } from '../services.ts';

const GUEST_UPID =
  /^UPID:[A-Za-z0-9.-]{1,63}:([0-9A-F]{8}):([0-9A-F]{8,13}):([0-9A-F]{8}):([^:\s/]{1,64}):[^:\s/]*:([^:\s/]{3,200}):$/;

/** `UPID:NODE:PID:PSTART:NUMBER:TIME:…` -> `UPID:NODE:PID:NUMBER:TIME:…`. */
export function guestUpidOf(upid: string): string {
  const [head = '', node, pid, , ...rest] = upid.split(':');
  return [head, node, pid, ...rest].join(':');
}

/** The number of a task, which the guest dialect shows as `pstart`. */
export function guestStartOf(upid: string): number {
  return parseUpid(upid).taskId;
}

/** The UPID of ten fields. @throws ParameterError, in the words of Proxmox VE, for a text that names no task. */
export function findUpid(tasks: Pick<TaskCalls, 'list'>, guestUpid: string): string {
  const [, , , time = '', type = ''] = GUEST_UPID.exec(guestUpid) ?? [];
  if (type === '') throw new ParameterError([['upid', 'unable to parse worker upid']]);
  const second = Number.parseInt(time, 16);
  const { rows } = tasks.list({ since: second, until: second, typefilter: type, limit: 0 });
  const found = rows.find(({ upid }) => guestUpidOf(upid) === guestUpid);
  if (found === undefined) throw new ParameterError([['upid', 'no such task']]);
  return found.upid;
}
