// The body of a pax extended header: records "LENGTH KEY=VALUE\n", whose values may hold any byte.
import type { ByteString } from '../../util/byte-string.ts';
import { malformedTar } from './tar-header.ts';

/** In their order: GNU's first form of sparse files repeats keys. */
export type PaxRecords = readonly (readonly [key: ByteString, value: Buffer])[];

export function encodePax(records: PaxRecords): Buffer {
  return Buffer.concat(
    records.map(([key, value]) => {
      const rest = key.length + value.length + 3;
      let length = rest + String(rest).length;
      // The length counts its own digits.
      if (String(length).length > String(rest).length) length = rest + String(length).length;
      return Buffer.concat([Buffer.from(`${length} ${key}=`, 'latin1'), value, Buffer.of(0x0a)]);
    }),
  );
}

/** Values are views. @throws `source-failed`. */
export function decodePax(body: Buffer): PaxRecords {
  const records: [ByteString, Buffer][] = [];
  for (let at = 0; at < body.length; ) {
    const space = body.indexOf(0x20, at);
    const digits = space < 0 ? '' : body.toString('latin1', at, Math.min(space, at + 16));
    const end = at + Number(digits);
    // Some writers fill the body up with zeros.
    if (records.length > 0 && body[at] === 0) break;
    const equals = body.indexOf(0x3d, at);
    if (!/^\d{1,10}$/.test(digits) || end > body.length || body[end - 1] !== 0x0a || equals < space || equals >= end)
      throw malformedTar('a pax header is damaged');
    if (equals === space + 1) throw malformedTar('a pax header has a record without a key');
    records.push([body.toString('latin1', space + 1, equals) as ByteString, body.subarray(equals + 1, end - 1)]);
    at = end;
  }
  return records;
}

/** A time as pax has it, "1700000000.5" or "-1.25", in nanoseconds. @throws `source-failed`. */
export function parsePaxTime(text: string): bigint {
  const match = /^(-?)(\d{1,19})(?:\.(\d*))?$/.exec(text);
  if (match === null) throw malformedTar('a pax header has an impossible time');
  const nanoseconds = BigInt(match[2] as string) * 1_000_000_000n + BigInt((match[3] ?? '').padEnd(9, '0').slice(0, 9));
  const time = match[1] === '-' ? -nanoseconds : nanoseconds;
  if (time >= 2n ** 63n * 1_000_000_000n || time < -(2n ** 63n) * 1_000_000_000n)
    throw malformedTar('a pax header has an impossible time');
  return time;
}

export function formatPaxTime(timeNs: bigint): string {
  const size = timeNs < 0n ? -timeNs : timeNs;
  const fraction = (size % 1_000_000_000n).toString().padStart(9, '0').replace(/0+$/, '');
  const seconds = size / 1_000_000_000n;
  return `${timeNs < 0n ? '-' : ''}${seconds}${fraction === '' ? '' : `.${fraction}`}`;
}

/** A number of a pax record. @throws `source-failed`. */
export function parsePaxNumber(value: Buffer): number {
  const text = value.toString('latin1');
  const number = Number(text);
  if (!/^\d{1,19}$/.test(text) || !Number.isSafeInteger(number))
    throw malformedTar('a pax header has an impossible number');
  return number;
}

const XATTR = 'SCHILY.xattr.';

/** The key under which an extended attribute is kept; GNU tar writes = and % of its name as %3D and %25. */
export function xattrKey(name: ByteString): ByteString {
  return `${XATTR}${name.replace(/[%=]/g, (sign) => (sign === '%' ? '%25' : '%3D'))}` as ByteString;
}

/** The name of the extended attribute that a key stands for; undefined for other keys. */
export function xattrOf(key: ByteString): ByteString | undefined {
  if (!key.startsWith(XATTR)) return undefined;
  return key.slice(XATTR.length).replace(/%(25|3D)/g, (code) => (code === '%25' ? '%' : '=')) as ByteString;
}
