// What a node leaves on its host outside of its directory: sockets and pids, and empty control groups.
import { readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { NodeDirectory } from '../../../src/guests/node-directory.ts';

const CONTROL_GROUPS = '/sys/fs/cgroup';

/** When none of its guests runs. */
export function removeNodeTraces({ name, runPath }: NodeDirectory): void {
  rmSync(runPath, { recursive: true, force: true });
  for (const root of [CONTROL_GROUPS, ...below(CONTROL_GROUPS)]) {
    const group = join(root, name);
    for (const each of [...below(group), group]) quietly(() => rmdirSync(each));
  }
}

function below(path: string): string[] {
  return (
    quietly(() =>
      readdirSync(path, { withFileTypes: true })
        .filter((each) => each.isDirectory())
        .map((each) => join(path, each.name)),
    ) ?? []
  );
}

/** What is not there, or is busy, is no concern of a test. */
function quietly<Result>(work: () => Result): Result | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
