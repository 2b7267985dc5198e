// What a storage of a node can do with volumes, whatever its type. A volume has one name, `STORAGE:NAME`; nothing outside of a storage
// makes a path from a name. Who changes a volume holds the guest's lock: a storage knows volumes, not guests.

export type ImageFormat = 'raw' | 'qcow2';

export const CONTENT_TYPES = ['images', 'iso', 'snippets', 'import', 'backup', 'vztmpl'] as const;
export type ContentType = (typeof CONTENT_TYPES)[number];

export interface Volume {
  /** `STORAGE:NAME`. */
  readonly id: string;
  readonly name: string;
  /** `raw` for whatever is no disk image. */
  readonly format: ImageFormat;
  /** What a guest sees of a disk; else the file's size. */
  readonly sizeBytes: number;
  /** On the file system, what it shares with clones and snapshots counted in. */
  readonly usedBytes: number;
  readonly vmid: number | undefined;
  readonly content: ContentType;
  /** Unix seconds. */
  readonly ctime: number;
  /** The volume that a linked clone stands on. */
  readonly parent?: string;
}

export interface StorageStatus {
  /** Bytes of the file system; zeros while it is not active. */
  readonly total: number;
  readonly used: number;
  readonly avail: number;
  readonly active: boolean;
  /** Why it is not active. */
  readonly reason?: string;
}

export interface VolumeRequest {
  readonly vmid: number;
  /** A multiple of 512. Space is taken when it is written to. */
  readonly sizeBytes: number;
  /** Takes 0 bytes as well: the place of a disk that is empty. */
  readonly mayBeEmpty?: boolean;
  readonly format: ImageFormat;
  /** `vm-VMID-…`, with or without the format as its ending; default `vm-VMID-disk-N`, the next that is free. */
  readonly name?: string | undefined;
}

/** Of a clone: as large as its source, or grown to `sizeBytes`. */
export type CloneRequest = Omit<VolumeRequest, 'sizeBytes'> & { readonly sizeBytes?: number | undefined };

/** An image as QEMU opens it. The format is known, never looked up in the image: a guest writes every byte of its raw disk. */
export interface LocatedImage {
  /** Absolute. */
  readonly path: string;
  readonly format: ImageFormat;
  /** The internal snapshot that is meant; undefined for the present. */
  readonly snapshot?: string;
}

export interface VolumeFilter {
  readonly vmid?: number | undefined;
  readonly content?: string | undefined;
}

/**
 * Who takes snapshots of a volume. `none`: nobody can. `image`: they lie in the image; while a guest runs QEMU itself takes and deletes them
 * (`blockdev-snapshot-internal-sync`), else the storage. `storage`: always the storage, at one moment, also of a running guest; what the
 * guest has not flushed is not in it, so freeze or pause it first.
 */
export type SnapshotMode = 'none' | 'image' | 'storage';

/** Bytes that are copied, and how many there are. */
export type CopyProgress = (doneBytes: number, totalBytes: number) => void;

/**
 * Every call throws `bad-name` for a name that is not one of this storage, `not-found` for a volume or snapshot that is not there,
 * `target-unfit` while the storage is not active or cannot do it, `disk-full`, `write-failed` and `target-failed`. What fails or is
 * aborted leaves nothing behind. What changes an image in place is not broken off by a signal once it has begun.
 */
export interface Storage {
  readonly id: string;
  readonly type: 'dir' | 'btrfs';
  readonly content: readonly string[];
  /** Never throws for a storage that cannot be reached: it is not active then. */
  status(signal?: AbortSignal): Promise<StorageStatus>;
  /** By name. Files whose names are not a volume's are left out. */
  list(filter?: VolumeFilter, signal?: AbortSignal): Promise<Volume[]>;
  /** Makes an empty disk. @throws also `exists` for a name that is taken, `bad-argument` for a size. */
  allocate(request: VolumeRequest, signal?: AbortSignal): Promise<Volume>;
  /** Removes a volume with all its snapshots. @throws also `guest-running` while QEMU has it open. */
  free(name: string, signal?: AbortSignal): Promise<void>;
  /** Where QEMU finds a volume, or one of its snapshots: a file of this storage, looked at now. */
  locate(name: string, snapshot?: string): Promise<LocatedImage>;
  /** Grows a disk that no guest uses. @throws also `guest-running`, `bad-argument` for less than it has. */
  resize(name: string, sizeBytes: number, signal?: AbortSignal): Promise<void>;
  snapshotMode(name: string): SnapshotMode;
  /** Names of a volume's snapshots, of a running guest's too. */
  snapshots(name: string, signal?: AbortSignal): Promise<string[]>;
  /** @throws also `exists`, and `guest-running` where the mode is `image`. */
  snapshot(name: string, snapshot: string, signal?: AbortSignal): Promise<void>;
  /** @throws also `guest-running` where the mode is `image`. */
  deleteSnapshot(name: string, snapshot: string, signal?: AbortSignal): Promise<void>;
  /**
   * Gives the volume the bytes and the size it had; the snapshot stays. Dirty bitmaps in the image are removed, for they are not true any more;
   * those that are kept elsewhere are the caller's to drop. @throws also `guest-running`.
   */
  rollback(name: string, snapshot: string, signal?: AbortSignal): Promise<void>;
  /**
   * A full copy of an image of any storage, or from outside; it depends on nothing then. Zeros become holes, and extents are shared where the
   * file system can. Snapshots and bitmaps are not copied.
   * @throws also `exists`, `guest-running`, and `bad-argument` for an image that names further files.
   */
  clone(from: LocatedImage, request: CloneRequest, onProgress?: CopyProgress, signal?: AbortSignal): Promise<Volume>;
}
