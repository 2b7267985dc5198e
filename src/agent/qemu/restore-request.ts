// What is asked of the restore of a virtual machine.
import type { GuestNode, Report } from '../../guests/guest-node.ts';
import type { ImageFormat } from '../../guests/storage/storage.ts';
import type { GuestId } from '../../schema/guest-names.ts';
import type { VmSnapshot } from './restore-source.ts';

export interface VmRestoreRequest {
  readonly node: GuestNode;
  readonly id: GuestId;
  readonly snapshot: VmSnapshot;
  /** Where volumes are made; undefined for the storages that the backup names. */
  readonly storage: string | undefined;
  /** Of all volumes; undefined for what each was. */
  readonly format: ImageFormat | undefined;
  /** In place of a guest, or of a guest's disk, that is there. */
  readonly force: boolean;
  /** New MAC addresses and a new SMBIOS UUID: the other one may go on running. */
  readonly unique: boolean;
  readonly start: boolean;
  readonly report: Report;
  readonly onProgress: (what: string, bytesDone: number, bytesTotal: number) => void;
  readonly waitMs?: number | undefined;
  readonly signal: AbortSignal;
}

export interface RestoredDisk {
  readonly key: string;
  /** Volume id. */
  readonly volume: string;
  readonly format: ImageFormat;
  readonly sizeBytes: number;
}

export interface RestoredVm {
  readonly disks: readonly RestoredDisk[];
}
