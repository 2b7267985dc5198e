// storage.cfg: which storages a node has, in Proxmox's syntax of sections. What we do not know is kept as it stands, comments too. The file is
// replaced whole; a change that was made from an older text is refused by the digest.
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { requireStorageId } from '../../schema/guest-names.ts';
import { readIfPresent, writeFileAtomic } from '../../util/atomic-file.ts';
import { HoldfastError } from '../../util/errors.ts';
import { Turn } from '../../util/turn.ts';

export interface StorageSection {
  readonly type: string;
  readonly id: string;
  /** In their order. A property without a value has the empty text. */
  readonly properties: ReadonlyMap<string, string>;
  /** Comment lines in front of it, each with its `#`. */
  readonly comments?: readonly string[];
}

export interface StorageConfig {
  readonly sections: readonly StorageSection[];
  /** Comment lines after the last section. */
  readonly comments?: readonly string[];
}

/** A flag of a section: there without a value, or one of Proxmox's words for yes. A path counts as yes. */
export function isSet(value: string | undefined): boolean {
  return value !== undefined && !/^(0|off|no|false)$/i.test(value);
}

/** @throws `bad-argument` with the line that is no part of the syntax, or names a storage twice; `bad-name`. */
export function parseStorageConfig(text: string): StorageConfig {
  const sections: StorageSection[] = [];
  let comments: string[] = [];
  let open: Map<string, string> | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    const wrong = (why: string) =>
      new HoldfastError(
        'bad-argument',
        `line ${index + 1} of storage.cfg ${why}: ${JSON.stringify(line.slice(0, 200))}`,
      );
    if (/^\s*#/.test(line)) {
      comments.push(line.trim());
    } else if (line.trim() === '') {
      open = undefined;
    } else if (/^\S/.test(line)) {
      const [, type, id] = /^([a-z][a-z0-9-]*):\s*(\S+)\s*$/.exec(line) ?? [];
      if (type === undefined || id === undefined) throw wrong("is no 'TYPE: NAME'");
      if (sections.some((section) => section.id === id)) throw wrong('names a storage a second time');
      open = new Map();
      sections.push({ type, id: requireStorageId(id), properties: open, ...commented(comments) });
      comments = [];
    } else {
      const [, key, value] = /^\s+(\S+)(?:\s+(.*\S))?\s*$/s.exec(line)!;
      if (open === undefined) throw wrong('belongs to no storage');
      if (open.has(key)) throw wrong('gives a property a second time');
      open.set(key, value ?? '');
    }
  }
  return { sections, ...commented(comments) };
}

/** @throws `bad-argument` for what would not be read back as it is. */
export function printStorageConfig(config: StorageConfig): string {
  const sections = config.sections.map(({ type, id, properties, comments }) => {
    const lines = [...properties].map(([key, value]) => {
      if (!/^[^\s#]\S*$/.test(key) || /[\r\n]/.test(value) || value !== value.trim())
        throw new HoldfastError('bad-argument', `storage '${id}': property ${JSON.stringify(key)} cannot be written`);
      return `\t${key}${value === '' ? '' : ` ${value}`}`;
    });
    return [...(comments ?? []), `${type}: ${requireStorageId(id)}`, ...lines].join('\n');
  });
  const end = config.comments?.join('\n');
  return [...sections, ...(end === undefined ? [] : [end])].map((part) => `${part}\n`).join('\n');
}

export interface ReadStorageConfig {
  readonly config: StorageConfig;
  /** SHA-1 of the text, as in Proxmox's answers. */
  readonly digest: string;
}

export class StorageConfigStore {
  readonly #directory: string;
  readonly #turn = new Turn();

  /** `directory`: the node's. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Without a file: the storage `local` below the node's directory. */
  async read(): Promise<ReadStorageConfig> {
    const text = (await readIfPresent(this.#path())) ?? this.#first();
    return { config: parseStorageConfig(text), digest: createHash('sha1').update(text).digest('hex') };
  }

  /**
   * Changes of one process follow each other; those of others are seen by `digest`, where it is given.
   * @throws `config-changed`, and whatever `edit` throws; the file is as it was then.
   */
  change(edit: (config: StorageConfig) => StorageConfig, digest?: string): Promise<ReadStorageConfig> {
    return this.#turn.run(async () => {
      const before = await this.read();
      if (digest !== undefined && digest !== before.digest)
        throw new HoldfastError('config-changed', 'storage.cfg was changed meanwhile; look at it again');
      const text = printStorageConfig(edit(before.config));
      parseStorageConfig(text);
      await mkdir(this.#directory, { recursive: true, mode: 0o750 });
      await writeFileAtomic(this.#path(), text);
      return this.read();
    });
  }

  #path(): string {
    return join(this.#directory, 'storage.cfg');
  }

  #first(): string {
    const path = join(this.#directory, 'storage', 'local');
    return `dir: local\n\tpath ${path}\n\tcontent images,iso,snippets,backup,import,vztmpl\n`;
  }
}

function commented(comments: readonly string[]): { comments?: readonly string[] } {
  return comments.length === 0 ? {} : { comments };
}
