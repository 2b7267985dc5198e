// accounting.json: figures of the last accounting. A cache: without it, or when it is damaged, status tells less until the next run.
import { Accounting } from '../../schema/accounting-file.ts';
import { readIfPresent, writeFileAtomic } from '../../util/atomic-file.ts';
import { parseIfSound } from '../../util/json-file.ts';
import { RememberedFiles } from '../../util/remembered-files.ts';
import { describingRootErrors } from '../config.ts';
import type { Layout } from '../layout.ts';

/** Undefined when no accounting has run, or its file cannot be used: the next run writes it anew. */
export async function readAccounting(layout: Layout): Promise<Accounting | undefined> {
  const text = await describingRootErrors(layout.root, () => readIfPresent(layout.accounting));
  return text === undefined ? undefined : parseIfSound(text, Accounting);
}

/** `readAccounting` for whoever asks often: the file is parsed once for as long as it stays. */
export class RememberedAccounting {
  readonly #layout: Layout;
  readonly #files = new RememberedFiles<Accounting>(1);

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  async read(): Promise<Accounting | undefined> {
    const { root, accounting } = this.#layout;
    return await describingRootErrors(root, () =>
      this.#files.get(accounting, async () => {
        const value = await readAccounting(this.#layout);
        return value && { value, cost: 1 };
      }),
    );
  }
}

export async function writeAccounting(layout: Layout, accounting: Accounting): Promise<void> {
  await describingRootErrors(layout.root, () => writeFileAtomic(layout.accounting, `${JSON.stringify(accounting)}\n`));
}
