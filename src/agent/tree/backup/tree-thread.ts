// The calls that a worker thread answers while a tree is backed up: the top is opened once, directories come one by one.
import { constants } from 'node:fs';
import type { StreamCutParameters } from '../../../chunker/cut-parameters.ts';
import type { Cutter } from '../../../chunker/cutter.ts';
import { readStat } from '../../../chunker/stat-block.ts';
import type { Area } from '../../../util/arena.ts';
import { type ByteString, fromText } from '../../../util/byte-string.ts';
import { HoldfastError } from '../../../util/errors.ts';
import type { Handlers } from '../../../util/worker-pool.ts';
import type { ObjectSink } from '../../object-sink.ts';
import { errnoName, type FileCalls, loadFileCalls, OPEN_DIRECTORY, readScan, type Scanned } from '../file-calls.ts';
import { IdMap } from '../ids/id-map.ts';
import { OpenDirectories } from '../open-directories.ts';
import { DirectoryScanner } from './directory-scanner.ts';
import type { DirectoryResult, DirectoryWork, TreeSettings } from './directory-work.ts';
import { FileStorer } from './file-storer.ts';

/** Reading a directory for a backup leaves its access time alone. */
const OPEN_TO_LIST = OPEN_DIRECTORY | constants.O_NOATIME;
const THE_DIRECTORY_ITSELF = Buffer.from('\x01.', 'latin1');

/** The top directory as it is on the disk, ids mapped. */
export interface TopDirectory {
  readonly stat: Uint8Array;
  readonly xattrs: Uint8Array;
  readonly device: number;
  /** Device and inode, as in `ChildDirectory`. */
  readonly identity: string;
}

interface OpenTree {
  readonly top: number;
  readonly directories: OpenDirectories;
  readonly scanner: DirectoryScanner;
}

export class TreeBackupThread {
  readonly #sink: (sessionId: string) => ObjectSink;
  readonly #cutter: Cutter;
  readonly #window: Area;
  #calls: FileCalls | undefined;
  #tree: OpenTree | undefined;

  /** `window` is an area of the cutter's memory that serves nothing else meanwhile. */
  constructor(sink: (sessionId: string) => ObjectSink, cutter: Cutter, window: Area) {
    this.#sink = sink;
    this.#cutter = cutter;
    this.#window = window;
  }

  static windowBytes(maxPieceBytes: number): number {
    return FileStorer.windowBytes(maxPieceBytes);
  }

  handlers(): Handlers {
    return {
      'tree.look': ({ path, idMap }: Pick<TreeSettings, 'path' | 'idMap'>): TopDirectory => this.#look(path, idMap),
      'tree.open': ({ settings, cut }: { settings: TreeSettings; cut: StreamCutParameters }) => {
        this.#cutter.setStream(cut);
        this.#open(settings);
      },
      'tree.directory': async (work: DirectoryWork): Promise<DirectoryResult> =>
        await (this.#tree as OpenTree).scanner.run(work, this.#sink(work.session)),
      'tree.close': () => this.#close(),
    };
  }

  /** Loaded by the first tree: a backup of disks needs none of them. */
  get #files(): FileCalls {
    this.#calls ??= loadFileCalls();
    return this.#calls;
  }

  #look(path: string, idMap: TreeSettings['idMap']): TopDirectory {
    const top = this.#openTop(path);
    try {
      const scan = this.#files.scan(top, THE_DIRECTORY_ITSELF);
      if (typeof scan === 'number') throw cannotRead(path, -scan);
      const found = readScan(scan).next().value as Scanned;
      if (found.errno !== 0) throw cannotRead(path, found.errno);
      const { stat, xattrs } =
        idMap === undefined ? found : IdMap.fromJSON(idMap).toContainer(found.stat, found.xattrs);
      return { stat, xattrs, device: found.device, identity: `${found.device}:${readStat(found.stat).inode}` };
    } finally {
      this.#files.close(top);
    }
  }

  #open(settings: TreeSettings): void {
    this.#close();
    const top = this.#openTop(settings.path);
    const directories = new OpenDirectories(this.#files, top, OPEN_TO_LIST);
    const storer = new FileStorer(this.#files, this.#cutter, this.#window);
    const idMap = settings.idMap === undefined ? undefined : IdMap.fromJSON(settings.idMap);
    const scanner = new DirectoryScanner({ calls: this.#files, directories, storer, settings, idMap });
    this.#tree = { top, directories, scanner };
  }

  /** The top may be named through symbolic links; nothing below it is followed. */
  #openTop(path: string): number {
    const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOATIME;
    const top = this.#files.open(-1, fromText(path) as ByteString, flags, 0);
    if (top < 0) throw cannotRead(path, -top);
    return top;
  }

  #close(): void {
    const tree = this.#tree;
    this.#tree = undefined;
    tree?.directories.close();
    if (tree !== undefined) this.#files.close(tree.top);
  }
}

function cannotRead(path: string, errno: number): HoldfastError {
  const name = errnoName(errno);
  const why = name === 'ENOTDIR' ? 'it is no directory' : name;
  return new HoldfastError('source-failed', `${path} cannot be backed up as a file tree: ${why}`, {
    data: { errno: name },
  });
}
