// What the tests of restored virtual machines have in common: what a restore is asked for, and looks at what it left.
import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import type { VmRestoreRequest } from '../../../src/agent/qemu/restore-request.ts';
import type { VmSnapshot } from '../../../src/agent/qemu/restore-source.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import { type ErrorCode, HoldfastError } from '../../../src/util/errors.ts';
import { NO_SIGNAL } from '../store.ts';
import { KeptReport, type TestNode } from './vm-node.ts';

/** A restore with nothing but what must be said. */
export function plainRestore({ node }: TestNode, id: GuestId, snapshot: VmSnapshot): VmRestoreRequest {
  return {
    node,
    id,
    snapshot,
    storage: undefined,
    format: undefined,
    force: false,
    unique: false,
    start: false,
    report: new KeptReport(),
    onProgress: () => {},
    waitMs: 1000,
    signal: NO_SIGNAL,
  };
}

/** The message of the error of this code that the work must end with. */
export async function refusal(work: Promise<unknown>, code: ErrorCode): Promise<string> {
  const error = await work.then(
    () => assert.fail(`it is not refused as ${code}`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof HoldfastError, String((error as Error).stack));
  assert.equal(error.code, code, error.message);
  return error.message;
}

export async function settingsOf({ node }: TestNode, id: GuestId): Promise<ReadonlyMap<string, string>> {
  return (await node.configs.read(id)).config.values;
}

/** Of a storage, without the guest's number: `disk-0.qcow2`. */
export async function volumesOf({ node }: TestNode, id: GuestId, storage = 'local'): Promise<string[]> {
  const volumes = await (await node.storages.get(storage)).list({ vmid: id });
  return volumes.map(({ name }) => name.replace(/^\d+\/vm-\d+-/, ''));
}

/** What a disk takes of its storage. */
export async function usedBytes(place: TestNode, id: GuestId, key: string): Promise<number> {
  const volume = ((await settingsOf(place, id)).get(key) as string).split(',')[0] as string;
  return (await stat((await place.node.storages.volume(volume)).path)).blocks * 512;
}
