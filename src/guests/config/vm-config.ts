// A virtual machine's configuration file in Proxmox's syntax. Reading loses nothing: unknown keys, comments and unknown sections are
// kept; a line that cannot be read is an error and never dropped. Printing is canonical, so that equal configurations are equal bytes.
import { createHash } from 'node:crypto';
import { requireSnapshotName } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { decodeLine, encodeLine } from './description-text.ts';

/** What Proxmox stores; also what a backup or an upload may bring. */
export const MAX_CONFIG_BYTES = 512 * 1024;

export interface ConfigSection {
  /** In the file's order; the description is not among them. */
  readonly values: ReadonlyMap<string, string>;
  readonly description: string | undefined;
}

export interface VmConfig extends ConfigSection {
  /** Changes that wait for the guest's next start; `delete` among its values lists keys to remove. */
  readonly pending: ConfigSection | undefined;
  /** By name: the configuration as it was, with `snaptime`, `parent`, `vmstate` and so on. */
  readonly snapshots: ReadonlyMap<string, ConfigSection>;
  /** Sections of other kinds, by what stands in the brackets: their lines as they are, without empty ones. */
  readonly special: ReadonlyMap<string, readonly string[]>;
}

export const EMPTY_CONFIG: VmConfig = {
  values: new Map(),
  description: undefined,
  pending: undefined,
  snapshots: new Map(),
  special: new Map(),
};

const KEY = /^[A-Za-z][A-Za-z0-9_.-]*$/;
/** As `requireSnapshotName`; what it would refuse is kept as a special section. */
const SNAPSHOT = /^(?!current$)[A-Za-z][A-Za-z0-9_-]{1,39}$/;

class SectionReader implements ConfigSection {
  readonly values = new Map<string, string>();
  readonly #comments: string[] = [];

  get description(): string | undefined {
    return this.#comments.length === 0 ? undefined : this.#comments.join('\n');
  }

  /** Says what is wrong with the line, or undefined. */
  take(line: string): string | undefined {
    if (line.startsWith('#')) {
      this.#comments.push(decodeLine(line.slice(1)));
      return undefined;
    }
    const cut = line.indexOf(':');
    const key = line.slice(0, Math.max(0, cut));
    const value = line.slice(cut + 1).trim();
    if (!KEY.test(key)) return "it is not 'KEY: VALUE'";
    if (key === 'description') this.#comments.push(decodeLine(value));
    else if (this.values.has(key)) return `'${key}' is there a second time`;
    else this.values.set(key, value);
    return undefined;
  }
}

/**
 * Reads a configuration; `label` names it in messages.
 * @throws `bad-argument` for a line that cannot be read, with its number; `too-large`.
 */
export function parseVmConfig(text: string, label: string): VmConfig {
  if (Buffer.byteLength(text) > MAX_CONFIG_BYTES)
    throw new HoldfastError('too-large', `${label}: a configuration has at most ${MAX_CONFIG_BYTES} bytes`);
  const main = new SectionReader();
  const snapshots = new Map<string, SectionReader>();
  const special = new Map<string, string[]>();
  let pending: SectionReader | undefined;
  let take = (line: string): string | undefined => main.take(line);

  const open = (name: string): string | undefined => {
    if (/^pending$/i.test(name)) {
      if (pending !== undefined) return '[PENDING] is there a second time';
      const section = new SectionReader();
      pending = section;
      take = (line) => section.take(line);
    } else if (snapshots.has(name) || special.has(name)) return `[${name}] is there a second time`;
    else if (SNAPSHOT.test(name)) {
      const section = new SectionReader();
      snapshots.set(name, section);
      take = (line) => section.take(line);
    } else {
      const lines: string[] = [];
      special.set(name, lines);
      take = (line) => void lines.push(line);
    }
    return undefined;
  };

  for (const [index, whole] of text.split('\n').entries()) {
    const line = whole.replace(/\r$/, '');
    if (line.trim() === '') continue;
    const name = /^\[([^[\]]+)\]\s*$/.exec(line)?.[1];
    const problem = name === undefined ? take(line) : open(name);
    if (problem === undefined) continue;
    throw new HoldfastError('bad-argument', `${label}, line ${index + 1} cannot be read: ${problem}: '${shown(line)}'`);
  }
  return {
    ...sectionOf(main),
    pending: isEmpty(pending) ? undefined : sectionOf(pending),
    snapshots: new Map([...snapshots].map(([name, section]) => [name, sectionOf(section)])),
    special,
  };
}

/**
 * The canonical text: description, keys by the alphabet, then `[PENDING]`, other sections and snapshots by name.
 * @throws `bad-argument` for a key or value that a line cannot hold.
 */
export function printVmConfig(config: VmConfig): string {
  let text = printSection(config);
  if (!isEmpty(config.pending)) text += `\n[PENDING]\n${printSection(config.pending)}`;
  for (const [name, lines] of byName(config.special))
    text += `\n[${name}]\n${lines.map((line) => `${line}\n`).join('')}`;
  for (const [name, section] of byName(config.snapshots))
    text += `\n[${requireSnapshotName(name)}]\n${printSection(section)}`;
  return text;
}

/** SHA-1 of the file's text, in hexadecimal digits: Proxmox's `digest`. */
export function configDigest(text: string): string {
  return createHash('sha1').update(text, 'utf8').digest('hex');
}

/** A copy of the main section changed: `remove` first, then `set`. `description` is a key like any other here; nothing is checked. */
export function withSettings(
  config: VmConfig,
  set: Readonly<Record<string, string>>,
  remove: readonly string[] = [],
): VmConfig {
  const { description, ...rest } = set;
  const values = new Map(config.values);
  for (const key of remove) values.delete(key);
  for (const [key, value] of Object.entries(rest)) values.set(key, value);
  const before = remove.includes('description') ? undefined : config.description;
  return { ...config, values, description: description === '' ? undefined : (description ?? before) };
}

function isEmpty(section: ConfigSection | undefined): section is undefined {
  return section === undefined || (section.values.size === 0 && section.description === undefined);
}

function sectionOf({ values, description }: ConfigSection): ConfigSection {
  return { values, description };
}

function printSection({ values, description }: ConfigSection): string {
  const comments = description?.split('\n').map((line) => `#${encodeLine(line)}\n`) ?? [];
  const lines = byName(values).map(([key, value]) => {
    if (!KEY.test(key) || key === 'description' || value.includes('\n') || value.trim() !== value)
      throw new HoldfastError('bad-argument', `a configuration cannot hold '${shown(key)}' with '${shown(value)}'`);
    return `${key}: ${value}`.trimEnd();
  });
  return [...comments, ...lines.map((line) => `${line}\n`)].join('');
}

/** Sorted by code units, as a file of another machine with another language is. */
function byName<Value>(map: ReadonlyMap<string, Value>): [string, Value][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

function shown(line: string): string {
  const clean = line.replace(/\p{C}/gu, '?');
  return clean.length > 80 ? `${clean.slice(0, 79)}…` : clean;
}
