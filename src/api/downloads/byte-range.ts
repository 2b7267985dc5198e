// The part of a file that a caller asks for with `Range`: one range, in the words of RFC 9110. What is no such range, or several, is answered with the whole file.
import type { Span } from '../../agent/restore/run-restore.ts';
import { ApiError } from '../dialect/failure.ts';

export interface RangeHeaders {
  readonly range: string | undefined;
  /** With it a range counts for this version of the file alone. */
  readonly ifRange: string | undefined;
}

/** Undefined for the whole file. @throws ApiError 416 when nothing of the file is in it. */
export function spanOf({ range, ifRange }: RangeHeaders, sizeBytes: number, version: string): Span | undefined {
  const [, first = '', last = ''] = /^bytes=(\d{0,16})-(\d{0,16})$/.exec(range ?? '') ?? [];
  if (first === '' && last === '') return undefined;
  if (ifRange !== undefined && ifRange !== version) return undefined;
  const start = first === '' ? Math.max(0, sizeBytes - Number(last)) : Number(first);
  const end = first === '' || last === '' ? sizeBytes : Math.min(sizeBytes, Number(last) + 1);
  // RFC 9110: a range whose end is before its start is no range.
  if (first !== '' && last !== '' && Number(last) < Number(first)) return undefined;
  if (start >= end) throw new ApiError(416, 'bad-argument', `the file has ${sizeBytes} bytes, and none in that range`);
  return { start, end };
}
