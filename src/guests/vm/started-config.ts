// The configuration that a running guest was started with, and what of it was changed while it runs: the difference to the file is what waits for the next start.
import { join } from 'node:path';
import type { GuestId } from '../../schema/guest-names.ts';
import { readIfPresent, writeFileAtomic } from '../../util/atomic-file.ts';
import { isUnusedKey } from '../config/drive.ts';
import { EMPTY_CONFIG, parseVmConfig, printVmConfig, type VmConfig } from '../config/vm-config.ts';
import type { GuestNode } from '../guest-node.ts';
import { findQemu } from '../qemu/qemu-process.ts';

/** Keys that have no part in what runs. */
const NOT_RUN = new Set([
  'lock',
  'parent',
  'name',
  'tags',
  'onboot',
  'startup',
  'protection',
  'template',
  'meta',
  'digest',
]);

export interface PendingChange {
  readonly key: string;
  /** As it runs; undefined when the guest runs without. */
  readonly running: string | undefined;
  /** As it is configured; undefined when it is removed. */
  readonly configured: string | undefined;
}

/** Call with the guest's lock. */
export async function writeStartedConfig(
  node: GuestNode,
  id: GuestId,
  config: Pick<VmConfig, 'values'>,
): Promise<void> {
  await writeFileAtomic(fileOf(node, id), printVmConfig({ ...EMPTY_CONFIG, values: config.values }));
}

/** Undefined when the guest does not run. */
export async function readStartedConfig(node: GuestNode, id: GuestId): Promise<VmConfig | undefined> {
  if ((await findQemu(node.directory.run(id))) === undefined) return undefined;
  const text = await readIfPresent(fileOf(node, id));
  return text === undefined ? undefined : parseVmConfig(text, `the configuration that VM ${id} was started with`);
}

/** The values as the guest runs with them; those of the file where it does not run, and of keys that have no part in what runs. */
export async function runningValues(
  node: GuestNode,
  id: GuestId,
  config: Pick<VmConfig, 'values'>,
): Promise<ReadonlyMap<string, string>> {
  const started = await readStartedConfig(node, id);
  if (started === undefined) return config.values;
  const isRun = (key: string): boolean => !NOT_RUN.has(key) && !isUnusedKey(key);
  return new Map([
    ...[...config.values].filter(([key]) => !isRun(key)),
    ...[...started.values].filter(([key]) => isRun(key)),
  ]);
}

/** What takes effect when the guest is started the next time; empty when it does not run. */
export async function pendingChanges(node: GuestNode, id: GuestId): Promise<PendingChange[]> {
  const { config } = await node.configs.read(id);
  const running = await runningValues(node, id, config);
  const keys = new Set([...config.values.keys(), ...running.keys()]);
  return [...keys].sort().flatMap((key) => {
    const [now, next] = [running.get(key), config.values.get(key)];
    return now === next ? [] : [{ key, running: now, configured: next }];
  });
}

/** For keys that a running guest took over at once. Call with the guest's lock. */
export async function noteTakenOver(
  node: GuestNode,
  id: GuestId,
  values: ReadonlyMap<string, string>,
  keys: readonly string[],
): Promise<void> {
  const started = await readStartedConfig(node, id);
  if (started === undefined || keys.length === 0) return;
  const now = new Map(started.values);
  for (const key of keys) {
    const value = values.get(key);
    if (value === undefined) now.delete(key);
    else now.set(key, value);
  }
  await writeStartedConfig(node, id, { values: now });
}

function fileOf(node: GuestNode, id: GuestId): string {
  return join(node.directory.run(id).path, 'started.conf');
}
