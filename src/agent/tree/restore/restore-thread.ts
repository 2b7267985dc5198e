// A worker thread's part in restoring trees: units of directories, and ranges of large files.

import type { Handlers } from '../../../util/worker-pool.ts';
import type { ObjectFetcher } from '../../object-sink.ts';
import type { LostRange, PieceRestorer } from '../../restore/piece-restorer.ts';
import { type FileCalls, loadFileCalls } from '../file-calls.ts';
import { FileRangeTarget, type FileRangeWork } from './large-files.ts';
import { RestoreUnit, type UnitResult, type UnitWork } from './restore-unit.ts';

export class TreeRestoreThread {
  readonly #restorer: PieceRestorer;
  readonly #fetcher: (space: number) => ObjectFetcher;
  #calls: FileCalls | undefined;

  constructor(restorer: PieceRestorer, fetcher: (space: number) => ObjectFetcher) {
    this.#restorer = restorer;
    this.#fetcher = fetcher;
  }

  handlers(): Handlers {
    return {
      'restore.treeUnit': async (work: UnitWork): Promise<UnitResult> => {
        this.#calls ??= loadFileCalls();
        return await new RestoreUnit(work, this.#calls, this.#fetcher(work.space)).run(this.#restorer);
      },
      'restore.treeRange': (work: FileRangeWork): LostRange[] => {
        const lost: LostRange[] = [];
        this.#restorer.run(work.pieces, work.offset, this.#fetcher(work.space), new FileRangeTarget(work), lost);
        return lost;
      },
    };
  }
}
