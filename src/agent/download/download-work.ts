// What can be downloaded from a snapshot, as the main thread asks a worker for it; all of it structured-cloneable.
import type { Archive } from '../../schema/manifest.ts';
import type { ByteString } from '../../util/byte-string.ts';
import type { Span } from '../restore/run-restore.ts';

export interface DownloadWork {
  /** By which the main thread speaks of it. */
  readonly download: number;
  readonly space: number;
  readonly archive: Archive;
  readonly wanted: Wanted;
}

export type Wanted =
  /** All of it: a tree as tar, all else as its bytes, of these only the span where there is one. */
  | { readonly what: 'archive'; readonly span: Span | undefined }
  /** A regular file of a tree as its bytes, a directory as tar with zstd. */
  | { readonly what: 'entry'; readonly path: ByteString }
  /** What a directory of a tree holds: rows of JSON between commas. `below` goes before each name. */
  | { readonly what: 'rows'; readonly path: ByteString; readonly below: ByteString };

/** What comes, known before the first byte. */
export interface DownloadFacts {
  readonly form: 'bytes' | 'tar' | 'tar.zst' | 'rows';
  /** Undefined where only the end shows it. */
  readonly sizeBytes: number | undefined;
}
