// UPIDs: the names of tasks, ten fields between colons as Proxmox Backup Server writes them. Two tasks never have the same one: process,
// its start, and a number that the process counts up.
import { HoldfastError } from '../util/errors.ts';

export interface Upid {
  readonly node: string;
  readonly pid: number;
  /** Start of the process, in clock ticks since the machine started. */
  readonly pstart: number;
  readonly taskId: number;
  /** Seconds since 1970. */
  readonly starttime: number;
  readonly type: string;
  /** What the task works on, decoded: `store1:vm/100`. */
  readonly id: string | null;
  /** `user@realm`, or `user@realm!token`. */
  readonly user: string;
}

/** Bytes of a worker id, before it is escaped. */
export const MAX_WORKER_ID_BYTES = 640;
/** An escaped byte takes four characters. */
const MAX_UPID_LENGTH = 4 * MAX_WORKER_ID_BYTES + 512;

const UPID =
  /^UPID:([a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?):([0-9A-F]{8}):([0-9A-F]{8,9}):([0-9A-F]{8,13}):([0-9A-F]{8}):([^:\s/\p{Cc}]{1,64}):([^:\s/\p{Cc}]*):([^:\s/\p{Cc}]{3,200}):$/u;
const NODE = /^[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?$/;
const TYPE = /^[A-Za-z0-9_-]{1,64}$/;
const USER = /^[^:\s/\p{Cc}]{3,200}$/u;

/** @throws `bad-name` when a field cannot stand in a UPID, `too-large` for a worker id of more than 640 bytes. */
export function formatUpid(upid: Upid): string {
  if (!NODE.test(upid.node)) throw unfit('node', upid.node);
  if (!TYPE.test(upid.type)) throw unfit('type', upid.type);
  if (!USER.test(upid.user)) throw unfit('user', upid.user);
  const id = escapeWorkerId(upid.id ?? '');
  const numbers = [
    hex('pid', upid.pid, 8),
    hex('start of the process', upid.pstart, 9),
    hex('task number', upid.taskId, 13),
    hex('start time', upid.starttime, 8),
  ];
  return `UPID:${upid.node}:${numbers.join(':')}:${upid.type}:${id}:${upid.user}:`;
}

/** @throws `bad-name`. */
export function parseUpid(text: string): Upid {
  const [, node, pid, pstart, taskId, starttime, type, id, user] =
    (text.length <= MAX_UPID_LENGTH && UPID.exec(text)) || [];
  if (node === undefined)
    throw new HoldfastError(
      'bad-name',
      `${JSON.stringify(text.slice(0, 100))} is no UPID; one looks like UPID:node:00004400:0006D549:00000031:6B00F22F:verify:store1:root@pam:`,
    );
  return {
    node,
    pid: Number.parseInt(pid, 16),
    pstart: Number.parseInt(pstart, 16),
    taskId: Number.parseInt(taskId, 16),
    starttime: Number.parseInt(starttime, 16),
    type,
    id: id === '' ? null : unescapeWorkerId(id),
    user,
  };
}

/** As systemd escapes unit names: `/` becomes `-`; all but letters, digits, `_` and `.` becomes `\x3a`. */
function escapeWorkerId(id: string): string {
  const bytes = Buffer.from(id, 'utf8');
  if (bytes.length > MAX_WORKER_ID_BYTES)
    throw new HoldfastError('too-large', `a worker id takes at most ${MAX_WORKER_ID_BYTES} bytes`);
  let escaped = '';
  for (const [place, byte] of bytes.entries()) {
    const char = String.fromCharCode(byte);
    if (char === '/') escaped += '-';
    else if (/[A-Za-z0-9_]/.test(char) || (char === '.' && place > 0)) escaped += char;
    else escaped += `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return escaped;
}

function unescapeWorkerId(escaped: string): string {
  const bytes: number[] = [];
  for (const [part] of escaped.matchAll(/\\x[0-9a-fA-F]{2}|./gsu)) {
    if (part.length === 4) bytes.push(Number.parseInt(part.slice(2), 16));
    else bytes.push(...Buffer.from(part === '-' ? '/' : part, 'utf8'));
  }
  const decoded = Buffer.from(bytes);
  const text = decoded.toString('utf8');
  if (decoded.length > MAX_WORKER_ID_BYTES || !Buffer.from(text, 'utf8').equals(decoded))
    throw new HoldfastError('bad-name', `${JSON.stringify(escaped.slice(0, 100))} is no worker id of a UPID`);
  return text;
}

function hex(what: string, value: number, maxDigits: number): string {
  if (!Number.isSafeInteger(value) || value < 0 || value >= 16 ** maxDigits) throw unfit(what, String(value));
  return value.toString(16).toUpperCase().padStart(8, '0');
}

function unfit(what: string, value: string): HoldfastError {
  return new HoldfastError('bad-name', `${JSON.stringify(value.slice(0, 100))} cannot be the ${what} of a task`);
}
