// qm config: a guest's configuration as it will be, as it runs, or as a snapshot has it.
import type { GuestId } from '../../schema/guest-names.ts';
import type { ConfigSection } from '../config/vm-config.ts';
import type { GuestNode } from '../guest-node.ts';
import { requireSnapshot } from './list-snapshots.ts';
import { runningValues } from './started-config.ts';

export interface ShownConfig extends ConfigSection {
  /** Of the whole file. */
  readonly digest: string;
}

/** `current`: as it runs, without what waits for the next start. @throws `not-found`. */
export async function showConfig(
  node: GuestNode,
  id: GuestId,
  { snapshot, current = false }: { readonly snapshot?: string | undefined; readonly current?: boolean | undefined },
): Promise<ShownConfig> {
  const { config, digest } = await node.configs.read(id);
  if (snapshot !== undefined) return { ...requireSnapshot(id, config, snapshot), digest };
  const values = current ? await runningValues(node, id, config) : config.values;
  return { values, description: config.description, digest };
}
