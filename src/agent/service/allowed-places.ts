// Which paths of this host orders may touch: those at or below the places that its own configuration names, all symbolic links followed first.
import { realpath } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, normalize } from 'node:path';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { isThere } from '../../util/is-there.ts';

type Setting = 'allowBackup' | 'allowRestore' | 'allowScript';
const VERBS: Readonly<Record<Setting, string>> = {
  allowBackup: 'backed up from',
  allowRestore: 'restored to',
  allowScript: 'run as a hook script',
};

export class AllowedPlaces {
  readonly #setting: Setting;
  readonly #places: readonly string[];

  constructor(setting: Setting, places: readonly string[]) {
    this.#setting = setting;
    this.#places = places;
  }

  get allowsAll(): boolean {
    return this.#places.includes('/');
  }

  /**
   * The path without symbolic links, so that what was looked at is what is used; its last parts need not be there.
   * @throws `not-allowed` that names the setting.
   */
  async resolve(path: string): Promise<string> {
    if (!isAbsolute(path)) throw this.refusal(path, 'it is no absolute path');
    const real = await this.#real(normalize(path));
    for (const place of this.#places) {
      const allowed = await this.#real(normalize(place));
      if (real === allowed || allowed === '/' || real.startsWith(`${allowed}/`)) return real;
    }
    const through = real === normalize(path).replace(/(.)\/$/, '$1') ? '' : `, which is ${real}`;
    throw this.refusal(`${path}${through}`, undefined);
  }

  refusal(what: string, why: string | undefined): HoldfastError {
    const reason = why ?? `${this.#setting} in its agent.json names ${this.#places.join(', ') || 'nothing'}`;
    return new HoldfastError('not-allowed', `${what} may not be ${VERBS[this.#setting]} on this host: ${reason}`, {
      data: { setting: this.#setting },
    });
  }

  async #real(path: string): Promise<string> {
    try {
      return await realpath(path);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT' || path === '/')
        throw this.refusal(path, `it cannot be looked at (${(error as Error).message})`);
    }
    // A link to nothing would be followed by whoever writes there.
    if (await isThere(path)) throw this.refusal(path, 'it is a symbolic link to what is not there');
    return join(await this.#real(dirname(path)), basename(path));
  }
}
