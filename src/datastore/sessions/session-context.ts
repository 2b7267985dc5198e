// What all sessions of a store share: its parts, and one turn per group for commits.
import type { Turn } from '../../util/turn.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import type { Root } from '../gc/roots.ts';
import type { Layout } from '../layout.ts';
import type { IndexLocator, ObjectSource } from '../object-source.ts';
import type { PackTable } from '../packs/pack-table.ts';
import type { QuarantineList } from '../quarantine.ts';
import type { GroupStore } from '../snapshots/group-store.ts';

export interface SessionContext {
  readonly layout: Layout;
  readonly pool: WorkerPool;
  readonly groups: GroupStore;
  readonly locator: IndexLocator;
  readonly source: ObjectSource;
  readonly packs: PackTable;
  readonly quarantine: QuarantineList;
  readonly storeId: string;
  /** Per group path: commits of one group follow each other. */
  readonly groupTurns: Map<string, Turn>;
  /** Opening, publishing, ending, forgetting and the roots of garbage collection exclude each other (rule G1). */
  readonly rootTurn: Turn;
  /** Roots of manifests that were published and withdrawn, whose removal may not be durable (rule D6). */
  readonly withdrawnRoots: Root[];
}
