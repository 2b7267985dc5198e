// How the images of one format lie in a guest's directory, and how their snapshots are taken: what differs between types of storage.
// A new image is made under a name that no volume has, and gets its own in one step that fails when it is taken.
import type { SnapshotMode } from './storage.ts';

/** What an image is called while it is made; a leftover of a killed process keeps it. */
export const PARTIAL_PREFIX = '.partial-';

export interface NewImage {
  /** Of the image's bytes; no file is there yet. */
  readonly path: string;
  /** Makes it durable under its name. False when the name is taken: ask again with another, or discard it. */
  publish(stem: string): Promise<boolean>;
  discard(): Promise<void>;
}

/** `directory` is the absolute path of `images/VMID`, which exists; `stem` is a checked `vm-100-disk-0`, `snapshot` a checked name. */
export interface ImageForm {
  readonly snapshotMode: SnapshotMode;
  /** The stem of what an entry of the directory may be; undefined for what is no image of this form. */
  stemOf(entry: string): string | undefined;
  /** Path of the image's bytes, of now or of a snapshot that is a file of its own. */
  fileOf(directory: string, stem: string, snapshot?: string): string;
  begin(directory: string): Promise<NewImage>;
  /** With all snapshots. The caller makes it durable. */
  remove(directory: string, stem: string): Promise<void>;
  snapshots(directory: string, stem: string, signal?: AbortSignal): Promise<string[]>;
  snapshot(directory: string, stem: string, snapshot: string, signal?: AbortSignal): Promise<void>;
  deleteSnapshot(directory: string, stem: string, snapshot: string, signal?: AbortSignal): Promise<void>;
  rollback(directory: string, stem: string, snapshot: string, signal?: AbortSignal): Promise<void>;
}
