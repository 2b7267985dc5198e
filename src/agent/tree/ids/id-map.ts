// User and group ids of a container as its host sees them, and back, in all that an entry of a tree has of them: the owner, ACLs, file
// capabilities. A backup maps down to the container's ids, a restore up to the host's.
import { HoldfastError } from '../../../util/errors.ts';
import { IdLookup, IdRanges } from './id-ranges.ts';
import { capabilityToContainer, capabilityToHost, mapXattrs } from './mapped-xattrs.ts';

const SET_ID_BITS = 0o6000;

/** The metadata of an entry under other ids. */
export interface Mapped {
  readonly stat: Uint8Array;
  readonly xattrs: Uint8Array;
  /** At least one id lies in no range. */
  readonly unmapped: boolean;
}

/** The words of the command line, which cross to a worker thread. */
export interface IdMapJson {
  readonly users: readonly string[];
  readonly groups: readonly string[];
}

export class IdMap {
  readonly #users: IdRanges;
  readonly #groups: IdRanges;
  readonly #words: IdMapJson;

  private constructor(words: IdMapJson) {
    this.#words = words;
    this.#users = IdRanges.parse(words.users, '--map-uid');
    this.#groups = IdRanges.parse(words.groups, '--map-gid');
  }

  /**
   * The map of `--map-uid` and `--map-gid`, each CONTAINER:HOST:COUNT; undefined when neither was given.
   * @throws HoldfastError `bad-argument` for a malformed or overlapping range, or when only one of the two was given.
   */
  static parse(users: readonly string[], groups: readonly string[]): IdMap | undefined {
    if (users.length === 0 && groups.length === 0) return undefined;
    if (users.length === 0 || groups.length === 0)
      throw new HoldfastError('bad-argument', '--map-uid and --map-gid belong together: give both');
    return new IdMap({ users, groups });
  }

  static fromJSON(words: IdMapJson): IdMap {
    return new IdMap(words);
  }

  toJSON(): IdMapJson {
    return this.#words;
  }

  /**
   * What the container sees of a file of the host: for a backup. An id that the container does not have stays as the host has it.
   * @throws HoldfastError `object-damaged` for extended attributes that are none.
   */
  toContainer(stat: Uint8Array, xattrs: Uint8Array): Mapped {
    const users = (id: number): number | undefined => this.#users.toContainer(id);
    const groups = (id: number): number | undefined => this.#groups.toContainer(id);
    const ids = new IdLookup(users, groups);
    const block = mapOwner(ids, stat);
    const attributes = mapXattrs(ids, xattrs, capabilityToContainer);
    return { stat: block, xattrs: attributes, unmapped: !ids.isComplete };
  }

  /**
   * What the host must set so that the container sees what was backed up: for a restore. An id without a place on the host stays as it
   * is; a file that belongs to one loses its set-id bits and capabilities, which would hold for somebody else.
   * @throws HoldfastError `object-damaged` for extended attributes that are none.
   */
  toHost(stat: Uint8Array, xattrs: Uint8Array): Mapped {
    const users = (id: number): number | undefined => this.#users.toHost(id);
    const groups = (id: number): number | undefined => this.#groups.toHost(id);
    const ids = new IdLookup(users, groups);
    const block = mapOwner(ids, stat);
    if (ids.isComplete) {
      const attributes = mapXattrs(ids, xattrs, capabilityToHost);
      return { stat: block, xattrs: attributes, unmapped: !ids.isComplete };
    }
    block.writeUInt32LE(block.readUInt32LE(0) & ~SET_ID_BITS, 0);
    return { stat: block, xattrs: mapXattrs(ids, xattrs, () => undefined), unmapped: true };
  }
}

function mapOwner(ids: IdLookup, stat: Uint8Array): Buffer {
  const block = Buffer.from(stat);
  block.writeUInt32LE(ids.user(block.readUInt32LE(4)), 4);
  block.writeUInt32LE(ids.group(block.readUInt32LE(8)), 8);
  return block;
}
