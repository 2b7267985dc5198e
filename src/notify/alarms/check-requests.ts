// A look at the alarms that a command asks a running server for, through the settings that both see: a number that was asked for, the one that
// the server has begun with, and what came of it.
import type { ConfigStore } from '../config-store.ts';

const ASKED = 'alarms-asked';
const BEGUN = 'alarms-begun';
const ENDED = 'alarms-ended';

/** What came of a look. */
export interface CheckEnd {
  /** Datastores that could not be asked, or not about all of their groups. */
  readonly unknown: readonly string[];
  /** Why there was none. */
  readonly problem?: string | undefined;
}

export class CheckRequests {
  readonly #store: Pick<ConfigStore, 'setting' | 'putSetting'>;

  constructor(store: Pick<ConfigStore, 'setting' | 'putSetting'>) {
    this.#store = store;
  }

  /** Within a transaction, so that two commands have two numbers. */
  ask(): number {
    const number = this.asked() + 1;
    this.#store.putSetting(ASKED, String(number));
    return number;
  }

  /** The newest that was asked for; 0 for none. */
  asked(): number {
    return Number(this.#store.setting(ASKED) ?? 0);
  }

  begin(number: number): void {
    this.#store.putSetting(BEGUN, String(number));
  }

  /** A look that begins answers all who asked before. */
  hasBegun(number: number): boolean {
    return Number(this.#store.setting(BEGUN) ?? 0) >= number;
  }

  end(number: number, end: CheckEnd): void {
    this.#store.putSetting(ENDED, JSON.stringify({ number, ...end }));
  }

  /** Undefined as long as the look of this number, or a later one, goes on. */
  endOf(number: number): CheckEnd | undefined {
    const text = this.#store.setting(ENDED);
    if (text === undefined) return undefined;
    const { number: ended, ...end } = JSON.parse(text) as CheckEnd & { readonly number: number };
    return ended >= number ? end : undefined;
  }
}
