// Where volumes lie in the directory of a storage. No path leaves the directory, by a name or by a symbolic link.
import { lstat, realpath } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { HoldfastError } from '../../util/errors.ts';
import type { ImageForm } from './image-form.ts';
import type { ImageFormat } from './storage.ts';
import { storageFailure } from './storage-tool.ts';
import {
  CONTENT_DIRECTORIES,
  findVolumeName,
  formatVolumeName,
  type ImageName,
  type VolumeName,
} from './volume-name.ts';

export interface PlacesParts {
  readonly id: string;
  readonly forms: Readonly<Record<ImageFormat, ImageForm>>;
  /** Makes the directory ready and resolves its path. @throws `target-unfit` with the reason why it is not active. */
  readonly activate: () => Promise<string>;
}

export interface ImagePlace {
  /** `images/VMID`. */
  readonly directory: string;
  readonly form: ImageForm;
}

export class VolumePlaces {
  /** Of the storage. */
  readonly id: string;
  readonly forms: PlacesParts['forms'];
  readonly #activate: () => Promise<string>;

  constructor({ id, forms, activate }: PlacesParts) {
    this.id = id;
    this.forms = forms;
    this.#activate = activate;
  }

  /** The storage's directory, looked at now. */
  root(): Promise<string> {
    return this.#activate();
  }

  /** A volume in messages. */
  called(name: string): string {
    return `volume '${this.id}:${name}'`;
  }

  /** Where images of a guest are; it need not be there. */
  async imagePlace({ vmid, format }: Pick<ImageName, 'vmid' | 'format'>): Promise<ImagePlace> {
    return { directory: join(await this.root(), CONTENT_DIRECTORIES.images, String(vmid)), form: this.forms[format] };
  }

  /** The volume's file. @throws as `requireFile`. */
  async fileOf(root: string, name: VolumeName): Promise<string> {
    const directory = join(root, CONTENT_DIRECTORIES[name.content]);
    const path =
      name.content === 'images'
        ? this.forms[name.format].fileOf(join(directory, String(name.vmid)), name.stem)
        : join(directory, name.file);
    return await this.requireFile(root, formatVolumeName(name), path);
  }

  /** The path, when it is a regular file and really lies below `root`. @throws `not-found`, `target-unfit`. */
  async requireFile(root: string, name: string, path: string): Promise<string> {
    const what = this.called(name);
    try {
      if (!(await lstat(path)).isFile())
        throw new HoldfastError('target-unfit', `${what} is no regular file: look at ${path}`);
      await this.requireInside(root, dirname(path));
    } catch (error) {
      throw storageFailure(what, error);
    }
    return path;
  }

  /** @throws `target-unfit`. */
  async requireInside(root: string, directory: string): Promise<void> {
    const way = relative(root, await realpath(directory));
    if (way === '..' || way.startsWith('../'))
      throw new HoldfastError('target-unfit', `${directory} is reached by a symbolic link out of storage '${this.id}'`);
  }

  /** The name of the image of this storage that the backing file of an image in `directory` is. */
  backingName(root: string, directory: string, backingFile: string): string | undefined {
    const images = join(root, CONTENT_DIRECTORIES.images);
    const name = findVolumeName(relative(images, resolve(directory, backingFile)));
    return name?.content === 'images' ? formatVolumeName(name) : undefined;
  }
}
