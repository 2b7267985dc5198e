// Schemas of parameters and answers that methods of the guest dialect share. Names are checked here already.
import { type Static, Type } from 'typebox';
import { MAX_VMID, MIN_VMID } from '../../../schema/guest-names.ts';
import type { GuestWork } from '../services.ts';

export const Vmid = Type.Integer({ minimum: MIN_VMID, maximum: MAX_VMID, description: 'Number of a guest.' });
export const Node = Type.String({
  pattern: '^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$',
  maxLength: 63,
  description: 'Name of this machine, or localhost.',
});
export const STORAGE_NAME = '^[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]$';
export const StorageName = Type.String({
  pattern: STORAGE_NAME,
  maxLength: 100,
  description: 'Name of a storage.',
});
export const SnapshotName = Type.String({
  pattern: '^[A-Za-z][A-Za-z0-9_-]+$',
  maxLength: 40,
  description: 'Name of a snapshot.',
});
export const Digest = Type.String({
  pattern: '^[a-f0-9]{0,40}$',
  maxLength: 40,
  description: 'The digest that was read: the call fails when something changed since.',
});
export const KeyList = Type.String({ maxLength: 8192, description: 'Keys, between commas.' });
export const SkipLock = Type.Boolean({ default: false, description: 'Ignores the lock of the guest; root@pam alone.' });
export const Timeout = Type.Optional(Type.Integer({ minimum: 0, maximum: 86_400, description: 'Seconds.' }));
export const GuestUpid = Type.String({ minLength: 30, maxLength: 3072, description: 'A task.' });
export const Description = Type.String({ maxLength: 8192, description: 'Any text.' });
export const DISK_KEY =
  '^(ide[0-3]|sata[0-5]|scsi([12]?[0-9]|30)|virtio([0-9]|1[0-5])|efidisk0|tpmstate0|unused\\d{1,3})$';
export const DiskKey = Type.String({
  pattern: DISK_KEY,
  maxLength: 16,
  description: 'A disk of the guest: scsi0, virtio1 and so on.',
});
export const OfGuest = { node: Node, vmid: Vmid };

export const Nothing = Type.Null();
export const Upid = Type.String({ description: 'UPID of the task that does it.' });
/** As this dialect has booleans in answers. */
export const Flag = Type.Integer({ minimum: 0, maximum: 1 });
export const Count = Type.Integer({ minimum: 0 });

export function flag(value: boolean): Static<typeof Flag> {
  return value ? 1 : 0;
}

/** The parts of a list: between commas, semicolons or spaces. */
export function listOf(text: string | undefined): string[] {
  return (text ?? '').split(/[,;\s\0]+/).filter((part) => part !== '');
}

export function seconds(value: number | undefined): { timeoutMs?: number } {
  return value === undefined ? {} : { timeoutMs: value * 1000 };
}

/** Members that have a value. */
export function given<Members extends object>(
  members: Members,
): { [Name in keyof Members]?: Exclude<Members[Name], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never;
}

/** Of work that is no task, whose answer is all that is heard of it. */
export function quietWork(signal: AbortSignal): GuestWork {
  return { signal, log: ignore, warn: ignore, progress: ignore };
}

function ignore(): void {}
