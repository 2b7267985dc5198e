// Ids of one kind, users or groups, that a container and its host know by different numbers: ranges that overlap on neither side.
// Sources: user_namespaces(7), lxc.container.conf(5) lxc.idmap.
import { HoldfastError } from '../../../util/errors.ts';

/** Most ranges of one map, as in the kernel (user_namespaces(7)). */
const MAX_RANGES = 340;
/** -1 as an id means none. */
const MAX_ID = 2 ** 32 - 2;

interface Range {
  readonly container: number;
  readonly host: number;
  readonly count: number;
}

export class IdRanges {
  readonly #ranges: readonly Range[];

  private constructor(ranges: readonly Range[]) {
    this.#ranges = ranges;
  }

  /**
   * Reads CONTAINER:HOST:COUNT, the numbers of an lxc.idmap line. `option` names them in messages.
   * @throws HoldfastError `bad-argument`.
   */
  static parse(texts: readonly string[], option: string): IdRanges {
    const bad = (why: string): HoldfastError => new HoldfastError('bad-argument', `${option} ${why}`);
    if (texts.length > MAX_RANGES) throw bad(`was given more than ${MAX_RANGES} times`);
    const ranges = texts.map((text) => {
      const match = /^(\d{1,10}):(\d{1,10}):(\d{1,10})$/.exec(text);
      if (match === null) throw bad(`wants CONTAINER:HOST:COUNT, such as 0:100000:65536, not ${text}`);
      const [container, host, count] = match.slice(1).map(Number) as [number, number, number];
      if (count === 0 || Math.max(container, host) + count - 1 > MAX_ID)
        throw bad(`${text} wants at least one id and none above ${MAX_ID}`);
      return { container, host, count };
    });
    for (const side of ['container', 'host'] as const) {
      const sorted = [...ranges].sort((a, b) => a[side] - b[side]);
      const overlap = sorted.find((range, place) => place > 0 && endOf(sorted[place - 1] as Range, side) > range[side]);
      if (overlap !== undefined) throw bad(`names ${side} id ${overlap[side]} twice`);
    }
    return new IdRanges(ranges);
  }

  /** The container's id for one of the host; undefined when the container does not have it. */
  toContainer(id: number): number | undefined {
    for (const { container, host, count } of this.#ranges)
      if (id >= host && id < host + count) return container + (id - host);
    return undefined;
  }

  /** The host's id for one of the container; undefined when it has none. */
  toHost(id: number): number | undefined {
    for (const { container, host, count } of this.#ranges)
      if (id >= container && id < container + count) return host + (id - container);
    return undefined;
  }
}

function endOf(range: Range, side: 'container' | 'host'): number {
  return range[side] + range.count;
}

/** Looks ids of one entry up, in one direction, and notes whether one had no place. */
export class IdLookup {
  readonly #findUser: (id: number) => number | undefined;
  readonly #findGroup: (id: number) => number | undefined;
  #isComplete = true;

  constructor(findUser: (id: number) => number | undefined, findGroup: (id: number) => number | undefined) {
    this.#findUser = findUser;
    this.#findGroup = findGroup;
  }

  /** Whether every id so far had a place. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** To be called for what has no place and is no id. */
  noteIncomplete(): void {
    this.#isComplete = false;
  }

  /** The user's other id, or the same one. */
  user(id: number): number {
    return this.findUser(id) ?? id;
  }

  /** The group's other id, or the same one. */
  group(id: number): number {
    return this.#noted(this.#findGroup(id)) ?? id;
  }

  findUser(id: number): number | undefined {
    return this.#noted(this.#findUser(id));
  }

  #noted(found: number | undefined): number | undefined {
    if (found === undefined) this.#isComplete = false;
    return found;
  }
}
