// Questions about snapshots that change nothing: asked of a directory that is open for reading, or by a server for a client, who then sees
// only the groups that are shown to them.
import type { TSchema } from 'typebox';
import type { Accounting } from '../../schema/accounting-file.ts';
import type { DatastoreConfig } from '../../schema/state-files.ts';
import type { Layout } from '../layout.ts';
import type { GroupReader } from '../snapshots/group-reader.ts';

/** A datastore as a question sees it. */
export interface StoreView {
  readonly groups: GroupReader;
  readonly layout: Layout;
  readonly config: DatastoreConfig;
  /** Whether it may be told what takes how much space: that shows what others have stored too (rule S7). */
  readonly seesSizes: boolean;
  /** The figures of the last accounting; undefined when there was none. */
  accounting(): Promise<Accounting | undefined>;
}

/** Argument and answer are plain JSON. */
export interface Query<Argument, Answer> {
  readonly name: string;
  /** What a server's answer is checked with. */
  readonly answer: TSchema;
  run(view: StoreView, argument: Argument, signal: AbortSignal): Promise<Answer>;
}
