// Names of our dirty bitmaps: `hf-TARGET-N`. TARGET says for which datastore and group they record, so that several targets keep bitmaps of their
// own; N counts, and the bitmap with the highest N records what was written since the newest snapshot there.
import { createHash } from 'node:crypto';

/** Bytes of disk that one bit stands for. Merging needs it to be the same in both, so it never changes. */
export const BITMAP_GRANULARITY = 65_536;

const NAME = /^hf-([0-9a-f]{8})-([1-9]\d{0,9})$/;

export interface BitmapName {
  readonly target: string;
  readonly number: number;
}

export function formatBitmapName({ target, number }: BitmapName): string {
  return `hf-${target}-${number}`;
}

/** Undefined for a bitmap that is not ours. */
export function parseBitmapName(text: string): BitmapName | undefined {
  const [, target, number] = NAME.exec(text) ?? [];
  return target === undefined ? undefined : { target, number: Number(number) };
}

/** The eight digits for a datastore (its own id, or the address of a server's), a namespace and a group. */
export function targetOf(store: string, namespace: string, group: string): string {
  return createHash('sha256')
    .update(JSON.stringify([store, namespace, group]))
    .digest('hex')
    .slice(0, 8);
}
