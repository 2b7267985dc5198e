// A worker thread's downloads: opened, asked for one part after the other, and ended by the main thread.
import type { Handlers } from '../../util/worker-pool.ts';
import { Download, type DownloadPart } from './download.ts';
import type { DownloadFacts, DownloadWork } from './download-work.ts';
import { type DownloadObjects, openDownload } from './open-download.ts';

export class DownloadThread {
  readonly #objects: (space: number) => DownloadObjects;
  readonly #downloads = new Map<number, Download>();

  constructor(objects: (space: number) => DownloadObjects) {
    this.#objects = objects;
  }

  handlers(): Handlers {
    return {
      'download.open': async (work: DownloadWork): Promise<DownloadFacts> => {
        const { facts, produce } = await openDownload(work, this.#objects(work.space));
        this.#downloads.set(work.download, new Download(produce));
        return facts;
      },
      'download.next': async (download: number): Promise<DownloadPart> => {
        const found = this.#downloads.get(download);
        if (found === undefined) throw new Error(`download ${download} is not open`);
        return await found.next();
      },
      'download.close': (download: number) => {
        this.#downloads.get(download)?.close();
        this.#downloads.delete(download);
      },
    };
  }
}
