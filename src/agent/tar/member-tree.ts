// The tree that the members of an archive make, in memory until the last one is read: members come in any order, and the last of one name holds.
// No member leads out of it: there is nothing to follow, for a path is looked up among the members only.
import type { DirectoryPart } from '../../chunker/directory.ts';
import { type ByteString, display } from '../../util/byte-string.ts';
import { HoldfastError } from '../../util/errors.ts';
import { malformedTar } from './tar-header.ts';

/** Most members of an archive; 300,000 took 0.6 KB of memory each, with their metadata. */
export const MAX_MEMBERS = 4_000_000;
const MAX_COMPONENT_BYTES = 255;
const MAX_DEPTH = 4096;
/** What has not been stored. */
export const NOWHERE = -1;

/** Everything but a directory; names that are hard links share one. */
export class TreeFile {
  /** Its entry, once its content is stored. */
  entry = NOWHERE;
  /** Set for files with more than one name. */
  inode = 0;
  /** Names that it has in the finished tree. */
  names = 0;
}

export class TreeDirectory {
  /** Its entry; nowhere for one that no member describes. */
  entry = NOWHERE;
  readonly children = new Map<ByteString, TreeFile | TreeDirectory>();
  /** Of a large one, while it is stored: its parts, before the object above them. */
  parts: readonly DirectoryPart[] | undefined;
  /** Its directory object, once it is stored. */
  id: Uint8Array | undefined;
}

export class MemberTree {
  readonly top = new TreeDirectory();
  readonly #warn: (message: string) => void;
  #members = 0;
  #inodes = 0;
  #saidAbsolute = false;

  constructor(warn: (message: string) => void) {
    this.#warn = warn;
  }

  /** The directory of that path, new or there already. @throws `source-failed`, `too-many`. */
  directory(path: ByteString): TreeDirectory {
    const place = this.#place(path);
    if (place === undefined) return this.top;
    const { parent, name } = place;
    const present = parent.children.get(name);
    if (present instanceof TreeDirectory) return present;
    const directory = new TreeDirectory();
    parent.children.set(name, directory);
    return directory;
  }

  /** A new file of that path, in place of what was there. @throws `source-failed`, `too-many`. */
  file(path: ByteString): TreeFile {
    const file = new TreeFile();
    this.#put(path, file);
    return file;
  }

  /** Another name for the file at `target`. @throws `source-failed` when there is none. */
  link(path: ByteString, target: ByteString): void {
    const file = this.#find(target);
    if (file === undefined)
      throw malformedTar(
        `${display(path)} is a hard link to ${display(target)}, which is not before it in the archive; make the archive of the whole tree`,
      );
    if (file.inode === 0) file.inode = ++this.#inodes;
    this.#put(path, file);
  }

  #put(path: ByteString, file: TreeFile): void {
    const place = this.#place(path);
    if (place === undefined) throw malformedTar(`its top directory ${display(path)} is not a directory`);
    const { parent, name } = place;
    const present = parent.children.get(name);
    if (present instanceof TreeDirectory && present.children.size > 0)
      this.#warn(`${display(path)} takes the place of a directory of this name and of all that was in it`);
    parent.children.set(name, file);
  }

  #find(path: ByteString): TreeFile | undefined {
    let at: TreeFile | TreeDirectory | undefined = this.top;
    for (const name of this.#components(path)) at = at instanceof TreeDirectory ? at.children.get(name) : undefined;
    return at instanceof TreeFile ? at : undefined;
  }

  /** Where a path's last component belongs; undefined for the top. Makes the directories that are missing above it. */
  #place(path: ByteString): { parent: TreeDirectory; name: ByteString } | undefined {
    if (++this.#members > MAX_MEMBERS)
      throw new HoldfastError(
        'too-many',
        `the archive has more than ${MAX_MEMBERS} members; unpack it and back up the directory`,
      );
    const components = this.#components(path);
    const name = components.pop();
    if (name === undefined) return undefined;
    let parent = this.top;
    for (const component of components) {
      const child = parent.children.get(component);
      if (child instanceof TreeFile)
        throw malformedTar(`${display(path)} lies below ${display(component)}, which is no directory in the archive`);
      if (child === undefined) {
        const made = new TreeDirectory();
        parent.children.set(component, made);
        parent = made;
        this.#members++;
      } else parent = child;
    }
    return { parent, name };
  }

  #components(path: ByteString): ByteString[] {
    if (path.startsWith('/') && !this.#saidAbsolute) {
      this.#saidAbsolute = true;
      this.#warn(`the / at the beginning of names such as ${display(path)} is left out`);
    }
    const components = path.split('/').filter((part) => part !== '' && part !== '.') as ByteString[];
    if (components.includes('..' as ByteString)) throw malformedTar(`${display(path)} leads upwards with ..`);
    if (components.length > MAX_DEPTH) throw malformedTar(`a member lies more than ${MAX_DEPTH} directories deep`);
    const long = components.find((part) => part.length > MAX_COMPONENT_BYTES);
    if (long !== undefined)
      throw malformedTar(
        `a name has ${long.length} bytes, more than the ${MAX_COMPONENT_BYTES} of a file: ${display(long)}`,
      );
    return components;
  }
}
