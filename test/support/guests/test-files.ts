// The files that the test guest writes by create, fsync, rename, fsync, read on the host: a line "HFFILE1 NUMBER LENGTH CRC32" and the
// rest. Number n lies in files/(n mod 64), so after n was durable every file of the last 64 numbers must be there, whole.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

const SLOTS = 64;

export interface FileSurvey {
  readonly files: number;
  readonly highest: number;
  /** What is wrong, in words: a file that is missing, older than it may be, or not whole. */
  readonly wrong: readonly string[];
}

/** Of a mounted file system. `durable`: the number that the guest had told before the moment that the image is of. */
export function surveyFiles(mountPath: string, durable: number): FileSurvey {
  const folder = join(mountPath, 'files');
  const names = readdirSync(folder).filter((name) => name !== 'new');
  const wrong: string[] = [];
  const numbers = new Map<string, number>();
  for (const name of names) {
    const content = readFileSync(join(folder, name));
    const end = content.indexOf('\n');
    const [magic, number, length, checksum] = content.toString('latin1', 0, Math.max(end, 0)).split(' ');
    const rest = content.subarray(end + 1);
    const whole = magic === 'HFFILE1' && Number(length) === rest.length && parseInt(checksum ?? '', 16) === crc32(rest);
    if (!whole || Number(number) % SLOTS !== Number(name)) wrong.push(`file ${name} is not whole`);
    else numbers.set(name, Number(number));
  }
  for (let number = Math.max(1, durable - SLOTS + 1); number <= durable; number++)
    if ((numbers.get(String(number % SLOTS)) ?? 0) < number) wrong.push(`number ${number} was durable and is missing`);
  return { files: names.length, highest: Math.max(0, ...numbers.values()), wrong };
}
