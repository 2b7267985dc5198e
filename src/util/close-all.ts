// Takes apart what was built, in reverse: what came last may need what was there before.

/** Calls all of them, the last one first, whatever fails; the list is empty then. @throws the first failure. */
export async function closeAll(closing: (() => unknown)[]): Promise<void> {
  let failure: unknown;
  for (const close of closing.splice(0).reverse()) {
    try {
      await close();
    } catch (error) {
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
}
