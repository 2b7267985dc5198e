// The grammar of the names that guests, their volumes and snapshots have; checked before any of them becomes part of a path.
// Proxmox's words and limits.
import { HoldfastError } from '../util/errors.ts';

export const MIN_VMID = 100;
export const MAX_VMID = 999_999_999;

declare const guestBrand: unique symbol;

/** A VMID, checked: 100 to 999999999, one number space for virtual machines and containers of a node. */
export type GuestId = number & { readonly [guestBrand]: true };

/** @throws `bad-name`. */
export function parseGuestId(text: string | number): GuestId {
  const id = typeof text === 'number' ? text : /^[1-9]\d{2,8}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isInteger(id) && id >= MIN_VMID && id <= MAX_VMID) return id as GuestId;
  throw new HoldfastError('bad-name', `'${text}' is no VMID: write a number from ${MIN_VMID} to ${MAX_VMID}`);
}

/** `STORAGE:NAME`, for example `local:100/vm-100-disk-0.qcow2`. */
export interface VolumeId {
  readonly storage: string;
  /** What the storage calls it; its grammar is the storage's. */
  readonly name: string;
}

const STORAGE_ID = /^[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]$/;
const MAX_STORAGE_ID_LENGTH = 100;

/** @throws `bad-name`. */
export function requireStorageId(text: string): string {
  if (STORAGE_ID.test(text) && text.length <= MAX_STORAGE_ID_LENGTH) return text;
  throw new HoldfastError(
    'bad-name',
    `'${text}' is no storage name: use letters, digits, '.', '_' and '-', beginning with a letter and ending with a letter or digit`,
  );
}

/** @throws `bad-name` for what is no volume id, a path among them. */
export function parseVolumeId(text: string): VolumeId {
  const cut = text.indexOf(':');
  const name = text.slice(cut + 1);
  if (cut <= 0 || name === '' || /[\0\n]/.test(name))
    throw new HoldfastError('bad-name', `'${text}' is no volume: write STORAGE:NAME`);
  return { storage: requireStorageId(text.slice(0, cut)), name };
}

export function formatVolumeId({ storage, name }: VolumeId): string {
  return `${storage}:${name}`;
}

/** Proxmox's `configid`: names of snapshots. @throws `bad-name`. */
export function requireSnapshotName(text: string): string {
  if (/^[A-Za-z][A-Za-z0-9_-]{1,39}$/.test(text) && text !== 'current' && text.toLowerCase() !== 'pending') return text;
  throw new HoldfastError(
    'bad-name',
    `'${text}' is no name of a snapshot: use 2 to 40 letters, digits, '_' and '-', beginning with a letter; 'current' and 'pending' are taken`,
  );
}
