// A directory for a test, gone after it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

const made = new Set<string>();
process.on('exit', () => {
  // What still ran at the end of its test may have written there again.
  for (const path of made) rmSync(path, { recursive: true, force: true });
});

export function temporaryDirectory(t: TestContext, parent = tmpdir()): string {
  const path = mkdtempSync(join(parent, 'holdfast-test-'));
  made.add(path);
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
