// The file `spaces`: the number of each (owner, key fingerprint). It only grows, a line is durable before its number is used, and a number
// never gets another meaning. docs/format.md, section 2; rule B3.
import { existsSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { syncDirectory } from '../util/atomic-file.ts';
import { HoldfastError, systemCode } from '../util/errors.ts';
import type { Layout } from './layout.ts';

/** What a space is, beside space plain. */
export interface SpaceName {
  /** `user@realm`; empty when a repair could not tell. */
  readonly owner: string;
  /** Fingerprint of the key, 64 hex digits; zeros when a repair could not tell. */
  readonly key: string;
}

/** Stands for a number that is in use and of which nothing else is known. No owner and no key is ever equal to it. */
export const UNKNOWN_SPACE: SpaceName = { owner: '', key: '0'.repeat(64) };

export class Spaces {
  readonly #path: string;
  readonly #names: SpaceName[];
  /** Bytes of the file that hold whole lines; what is behind them was never used. */
  #length: number;

  private constructor(path: string, names: SpaceName[], length: number) {
    this.#path = path;
    this.#names = names;
    this.#length = length;
  }

  /** Reads the file; one that is not there has no spaces. @throws `datastore-damaged` when a line before the last one is bad. */
  static load({ spaces, root }: Layout): Spaces {
    const { lines, goodBytes } = readLines(spaces);
    const names = lines.map((line, place) => {
      if (line !== undefined) return line;
      throw new HoldfastError(
        'datastore-damaged',
        `${spaces}: line ${place + 1} is damaged; run: holdfast datastore repair --repository ${root}`,
      );
    });
    return new Spaces(spaces, names, goodBytes);
  }

  /** The space of this number; undefined for space plain and for one that is not named. */
  name(space: number): SpaceName | undefined {
    return this.#names[space - 1];
  }

  /** The number of an owner's space of a key; undefined when there is none yet. */
  find(owner: string, key: string): number | undefined {
    const place = this.#names.findIndex((name) => name.owner === owner && name.key === key);
    return place < 0 ? undefined : place + 1;
  }

  /**
   * Gives an owner and a key the next number, durably. For the holder, one at a time. `usedSpace` is the highest number that records
   * have: the last line of a damaged file looks like one that was never used.
   * @throws `datastore-damaged` when that number is in use already.
   */
  async add(owner: string, key: string, usedSpace: number): Promise<number> {
    const space = this.#names.length + 1;
    if (usedSpace >= space)
      throw new HoldfastError(
        'datastore-damaged',
        `${this.#path} has lost lines: it names ${this.#names.length} spaces, and records are in space ${usedSpace}; run: holdfast datastore repair`,
      );
    const line = Buffer.from(spaceLine({ owner, key }));
    const file = await open(this.#path, 'a+', 0o640);
    try {
      await file.truncate(this.#length);
      await file.writeFile(line);
      await file.sync();
    } catch (error) {
      // Whoever reads the file next would take the line for one that is durable; the error of the write is the one to tell.
      await file.truncate(this.#length).catch(() => undefined);
      throw error;
    } finally {
      await file.close();
    }
    if (space === 1) await syncDirectory(dirname(this.#path));
    this.#length += line.length;
    this.#names.push({ owner, key });
    return space;
  }
}

/** Makes lines durable that an earlier process wrote but did not live to sync. For the holder, before it gives out sessions. */
export async function syncSpaces({ spaces }: Layout): Promise<void> {
  if (!existsSync(spaces)) return;
  const file = await open(spaces, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** One line of the file, with its end. */
export function spaceLine({ owner, key }: SpaceName): string {
  const text = JSON.stringify({ owner, key });
  return `${text} ${checksum(text)}\n`;
}

/**
 * The lines of the file, undefined for damaged ones; a last line that is torn or fails its checksum was never used and is left out.
 * `goodBytes` is where the next line belongs.
 */
export function readLines(path: string): { lines: (SpaceName | undefined)[]; goodBytes: number } {
  let text: string;
  try {
    text = readFileSync(path, 'latin1');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return { lines: [], goodBytes: 0 };
    throw error;
  }
  const lines: (SpaceName | undefined)[] = [];
  let goodBytes = 0;
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at);
    const line = end < 0 ? undefined : parseLine(Buffer.from(text.slice(at, end), 'latin1').toString('utf8'));
    at = end < 0 ? text.length : end + 1;
    if (line === undefined && at === text.length) break;
    lines.push(line);
    goodBytes = at;
  }
  return { lines, goodBytes };
}

/** The fingerprint of a space's key, for messages; undefined when the file does not tell. */
export function fingerprintOf({ spaces }: Layout, space: number): string | undefined {
  const key = readLines(spaces).lines[space - 1]?.key;
  return key === UNKNOWN_SPACE.key ? undefined : key;
}

function parseLine(line: string): SpaceName | undefined {
  const text = line.slice(0, -9);
  if (line !== `${text} ${checksum(text)}`) return undefined;
  try {
    const { owner, key } = JSON.parse(text) as Partial<SpaceName>;
    return typeof owner === 'string' && /^[0-9a-f]{64}$/.test(key ?? '') ? { owner, key: key as string } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const checksum = (text: string): string => crc32(text).toString(16).padStart(8, '0');
