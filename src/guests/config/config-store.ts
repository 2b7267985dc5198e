// The configuration files of a node's virtual machines: NODE/qemu-server/VMID.conf. A file is wholly the old or wholly the new one, and of
// two that make the same guest one wins. Who writes holds the guest's lock; the digest is for callers that read before they had it.
import { randomBytes } from 'node:crypto';
import { access, link, mkdir, open, readdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type GuestId, MAX_VMID, MIN_VMID, parseGuestId } from '../../schema/guest-names.ts';
import { syncDirectory, writeFileAtomic, writeSynced } from '../../util/atomic-file.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { configDigest, MAX_CONFIG_BYTES, parseVmConfig, printVmConfig, type VmConfig } from './vm-config.ts';

export interface StoredConfig {
  readonly config: VmConfig;
  /** Of `text`, as Proxmox counts it. */
  readonly digest: string;
  readonly text: string;
}

/** Directories whose files take a VMID of the node, and the word for what they hold. */
const KINDS = { 'qemu-server': 'VM', lxc: 'CT' } as const;
type Kind = keyof typeof KINDS;

export class ConfigStore {
  readonly #node: string;
  readonly #directory: string;

  /** The directories are made with the first guest. */
  constructor(nodeDirectory: string) {
    this.#node = nodeDirectory;
    this.#directory = join(nodeDirectory, 'qemu-server');
  }

  /** All virtual machines of the node, by number. */
  async list(): Promise<GuestId[]> {
    return await this.#idsOf('qemu-server');
  }

  /** @throws `not-found`; `source-failed` for a file that cannot be read, or has a line that cannot. */
  async read(id: GuestId): Promise<StoredConfig> {
    const label = labelOf(id);
    const text = await this.#text(id);
    try {
      return { config: parseVmConfig(text, label), digest: configDigest(text), text };
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      throw new HoldfastError('source-failed', error.message, { cause: error });
    }
  }

  /**
   * Makes a guest's file, durable on return. A crash may leave a hidden file beside it that nobody reads.
   * @throws `exists`, also for a container's VMID; `disk-full`, `write-failed`.
   */
  async create(id: GuestId, config: VmConfig): Promise<{ readonly digest: string }> {
    const text = textOf(config);
    await this.#requireFree(id);
    const temporary = join(this.#directory, `.${id}.conf.${randomBytes(6).toString('hex')}`);
    await writing(id, async () => {
      await this.#makeDirectory();
      try {
        await writeSynced(temporary, text);
        // A link, unlike a rename, fails when the name is taken.
        await link(temporary, this.#path(id));
      } catch (error) {
        if (systemCode(error) === 'EEXIST') throw taken(id, 'VM');
        throw error;
      } finally {
        await unlink(temporary).catch(ignoreMissing);
      }
      await syncDirectory(this.#directory);
    });
    return { digest: configDigest(text) };
  }

  /**
   * Writes a guest's file anew, durable on return.
   * @throws `not-found`; `config-changed` when the file is not the one of `digest`; `disk-full`, `write-failed`.
   */
  async write(id: GuestId, config: VmConfig, options: { digest?: string } = {}): Promise<{ readonly digest: string }> {
    const text = textOf(config);
    requireDigest(id, configDigest(await this.#text(id)), options.digest);
    await writing(id, () => writeFileAtomic(this.#path(id), text));
    return { digest: configDigest(text) };
  }

  /** Removes a guest's file, durable on return. @throws `not-found`; `write-failed`. */
  async remove(id: GuestId): Promise<void> {
    await writing(id, async () => {
      try {
        await unlink(this.#path(id));
      } catch (error) {
        throw systemCode(error) === 'ENOENT' ? missing(id) : error;
      }
      await syncDirectory(this.#directory);
    });
  }

  /** The lowest VMID that neither a virtual machine nor a container has. It is nobody's until `create`. */
  async nextFreeId(): Promise<GuestId> {
    const used = new Set([...(await this.#idsOf('qemu-server')), ...(await this.#idsOf('lxc'))]);
    for (let id = MIN_VMID; id <= MAX_VMID; id += 1) if (!used.has(id as GuestId)) return parseGuestId(id);
    throw new HoldfastError('exists', 'every VMID of this node is taken');
  }

  #path(id: GuestId): string {
    return join(this.#directory, `${id}.conf`);
  }

  async #idsOf(kind: Kind): Promise<GuestId[]> {
    const names = await readdir(join(this.#node, kind)).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return [];
      throw new HoldfastError('source-failed', `the directory ${kind} of the node cannot be read`, { cause: error });
    });
    const ids = names.flatMap((name) => /^([1-9]\d{2,8})\.conf$/.exec(name)?.[1] ?? []);
    return ids.map(parseGuestId).sort((a, b) => a - b);
  }

  async #text(id: GuestId): Promise<string> {
    try {
      const bytes = await readBounded(this.#path(id), labelOf(id));
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (error) {
      if (error instanceof HoldfastError) throw error;
      if (systemCode(error) === 'ENOENT') throw missing(id);
      const problem = error instanceof TypeError ? 'it is not UTF-8' : (systemCode(error) ?? 'it cannot be read');
      throw new HoldfastError('source-failed', `${labelOf(id)} cannot be read: ${problem}`, { cause: error });
    }
  }

  async #requireFree(id: GuestId): Promise<void> {
    for (const [kind, word] of Object.entries(KINDS)) {
      try {
        await access(join(this.#node, kind, `${id}.conf`));
      } catch (error) {
        if (systemCode(error) === 'ENOENT') continue;
        throw new HoldfastError('source-failed', `the directory ${kind} of the node cannot be read`, { cause: error });
      }
      throw taken(id, word);
    }
  }

  async #makeDirectory(): Promise<void> {
    const made = await mkdir(this.#directory, { recursive: true, mode: 0o750 });
    if (made === undefined) return;
    for (let path = this.#directory; path !== dirname(made); path = dirname(path)) await syncDirectory(dirname(path));
  }
}

/** `wanted` is of the file that a change was made from; undefined takes any. @throws `config-changed`, in Proxmox's words. */
export function requireDigest(id: GuestId, current: string, wanted: string | undefined): void {
  if (wanted === undefined || wanted === current) return;
  throw new HoldfastError(
    'config-changed',
    'detected modified configuration - file changed by other user? Try again.',
    { data: { vmid: id, digest: current } },
  );
}

/** What would not be read again is not written. @throws `bad-argument`, `too-large`. */
function textOf(config: VmConfig): string {
  const text = printVmConfig(config);
  if (Buffer.byteLength(text) <= MAX_CONFIG_BYTES) return text;
  throw new HoldfastError(
    'too-large',
    `a configuration has at most ${MAX_CONFIG_BYTES} bytes: shorten the description`,
  );
}

async function readBounded(path: string, label: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size > MAX_CONFIG_BYTES)
      throw new HoldfastError(
        'source-failed',
        `${label} has ${size} bytes; a configuration has at most ${MAX_CONFIG_BYTES}`,
      );
    return await file.readFile();
  } finally {
    await file.close();
  }
}

async function writing(id: GuestId, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    const code = systemCode(error);
    const full = code === 'ENOSPC' || code === 'EDQUOT';
    const hint = full ? 'the file system is full' : `the file system refused (${code ?? 'no code'}); look at it`;
    throw new HoldfastError(full ? 'disk-full' : 'write-failed', `${labelOf(id)} cannot be written: ${hint}`, {
      cause: error,
    });
  }
}

function labelOf(id: GuestId): string {
  return `qemu-server/${id}.conf`;
}

function missing(id: GuestId): HoldfastError {
  return new HoldfastError('not-found', `Configuration file '${labelOf(id)}' does not exist`, { data: { vmid: id } });
}

function taken(id: GuestId, word: string): HoldfastError {
  return new HoldfastError('exists', `unable to create VM ${id} - ${word} ${id} already exists`, {
    data: { vmid: id },
  });
}

function ignoreMissing(error: unknown): void {
  if (systemCode(error) !== 'ENOENT') throw error;
}
