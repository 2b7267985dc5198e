// /nodes/{node}/qemu/{vmid}/config and /pending: settings read, and changed at once (PUT) or as a task (POST).
import { setTimeout as delay } from 'node:timers/promises';
import { type Static, type TObject, Type } from 'typebox';
import type { Privilege } from '../../../../auth/privileges.ts';
import { ParameterError } from '../../../dialect/failure.ts';
import { CONFIG_KEYS, CONFIG_PARAMETERS, settingsOf, shownValue } from '../../config-keys.ts';
import { requireConfigRights } from '../../config-rights.ts';
import { guestUpidOf } from '../../guest-upid.ts';
import { defineGuestMethod, type GuestCall, onGuest, requireGuest } from '../../method.ts';
import type { ConfigChange, VmConfig, VmSettings } from '../../services.ts';
import { startGuestWork } from '../../start-guest-task.ts';
import {
  Digest,
  given,
  KeyList,
  listOf,
  Nothing,
  OfGuest,
  quietWork,
  SkipLock,
  SnapshotName,
  Upid,
} from '../parameters.ts';
import { requireRootFor } from './skip-lock.ts';

const PATH = '/nodes/{node}/qemu/{vmid}/config';
const MAX_WAIT_SECONDS = 30;
const ANY_CHANGE: readonly Privilege[] = [
  'VM.Config.Disk',
  'VM.Config.CDROM',
  'VM.Config.CPU',
  'VM.Config.Memory',
  'VM.Config.Network',
  'VM.Config.HWType',
  'VM.Config.Options',
  'VM.Config.Cloudinit',
];
const CHANGE = {
  ...OfGuest,
  ...CONFIG_PARAMETERS,
  delete: Type.Optional(KeyList),
  revert: Type.Optional(KeyList),
  digest: Type.Optional(Digest),
  force: Type.Boolean({ default: false, description: 'Volumes of disks that are deleted go too.' }),
  skiplock: SkipLock,
};
type Change = Static<TObject<typeof CHANGE>>;

export const VM_CONFIG_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: PATH,
    description: 'The settings of a virtual machine, with those that wait for its next start.',
    access: onGuest('VM.Audit'),
    parameters: Type.Object({
      ...OfGuest,
      current: Type.Boolean({ default: false, description: 'Without those that wait.' }),
      snapshot: Type.Optional(SnapshotName),
    }),
    returns: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()])),
    handler: async (call, { node, vmid, current, snapshot }) => {
      await requireGuest(call, node, vmid);
      const config = await call.services.guests.config(vmid, { current, ...given({ snapshot }) });
      return { ...shown(config), digest: config.digest };
    },
  }),
  defineGuestMethod({
    method: 'PUT',
    path: PATH,
    description: 'Changes settings, and answers when that is done.',
    access: onGuest(...ANY_CHANGE),
    parameters: Type.Object(CHANGE),
    returns: Nothing,
    handler: async (call, parameters) => {
      const change = await checkedChange(call, parameters);
      await call.services.guests.setConfig(parameters.vmid, change, quietWork(call.signal));
      return null;
    },
  }),
  defineGuestMethod({
    method: 'POST',
    path: PATH,
    description: 'Changes settings as a task; null when it ends well within `background_delay`.',
    access: onGuest(...ANY_CHANGE),
    parameters: Type.Object({
      ...CHANGE,
      background_delay: Type.Optional(
        Type.Integer({ minimum: 1, maximum: MAX_WAIT_SECONDS, description: 'Seconds to wait for the end.' }),
      ),
    }),
    returns: Type.Union([Upid, Type.Null()]),
    handler: async (call, { background_delay: waitSeconds, ...parameters }) => {
      const { guests } = call.services;
      const change = await checkedChange(call, parameters);
      const { upid, done } = startGuestWork(call, 'qmconfig', parameters.vmid, async (work) => {
        await guests.setConfig(parameters.vmid, change, work);
      });
      const end = waitSeconds === undefined ? undefined : await endWithin(done, waitSeconds, call.signal);
      return end?.outcome === 'ok' ? null : guestUpidOf(upid);
    },
  }),
  defineGuestMethod({
    method: 'GET',
    path: '/nodes/{node}/qemu/{vmid}/pending',
    description: 'Settings as they are, with what they will be at the next start.',
    access: onGuest('VM.Audit'),
    parameters: Type.Object(OfGuest),
    returns: Type.Array(
      Type.Object({
        key: Type.String(),
        value: Type.Optional(Type.Union([Type.String(), Type.Number()])),
        pending: Type.Optional(Type.Union([Type.String(), Type.Number()])),
        delete: Type.Optional(Type.Integer()),
      }),
    ),
    handler: async (call, { node, vmid }) => {
      await requireGuest(call, node, vmid);
      const { guests } = call.services;
      const now = allOf(await guests.config(vmid, { current: true }));
      const next = allOf(await guests.config(vmid, {}));
      const keys = [...new Set([...Object.keys(now), ...Object.keys(next)])].sort();
      return keys.map((key) => ({
        key,
        ...given({ value: shownIfSet(key, now[key]) }),
        ...(next[key] === undefined ? { delete: 1 } : {}),
        // Of the values themselves: two passwords look the same when they are shown.
        ...(next[key] === now[key] ? {} : given({ pending: shownIfSet(key, next[key]) })),
      }));
    },
  }),
];

/** @throws ApiError 400, 403, 500. */
async function checkedChange(call: GuestCall, parameters: Change): Promise<ConfigChange> {
  const { node, vmid, delete: removed, revert, digest, force, skiplock, ...rest } = parameters;
  requireRootFor(call, skiplock);
  await requireGuest(call, node, vmid);
  const { values: before } = await call.services.guests.config(vmid, {});
  const settings = settingsOf(rest);
  const [remove, reverted] = [knownKeys('delete', removed), knownKeys('revert', revert)];
  for (const key of [...remove, ...reverted])
    if (key in settings || (remove.includes(key) && reverted.includes(key)))
      throw new ParameterError([[remove.includes(key) ? 'delete' : 'revert', `'${key}' is also set or deleted`]]);
  const running = reverted.length === 0 ? {} : (await call.services.guests.config(vmid, { current: true })).values;
  const back = reverted.filter((key) => running[key] !== before[key]).map((key) => [key, running[key] ?? ''] as const);
  const wished = [...Object.entries(settings), ...back];
  const set = Object.fromEntries(wished.filter(([, value]) => value !== ''));
  const gone = [...remove, ...wished.flatMap(([key, value]) => (value === '' ? [key] : []))];
  requireConfigRights(call, vmid, { set, remove: gone, before });
  return { set, remove: gone, force, skipLock: skiplock, ...given({ digest: digest === '' ? undefined : digest }) };
}

/** @throws ParameterError for one that is no key of a configuration. */
function knownKeys(parameter: 'delete' | 'revert', text: string | undefined): string[] {
  const keys = listOf(text);
  const wrong = keys.find((key) => !CONFIG_KEYS.has(key));
  if (wrong !== undefined) throw new ParameterError([[parameter, `unknown option '${wrong.slice(0, 64)}'`]]);
  return keys;
}

/** Settings as clients read them, the description among them. */
export function shown(config: Pick<VmConfig, 'values' | 'description'>): Record<string, string | number> {
  return Object.fromEntries(Object.entries(allOf(config)).map(([key, value]) => [key, shownValue(key, value)]));
}

function allOf({ values, description }: Pick<VmConfig, 'values' | 'description'>): VmSettings {
  return { ...values, ...given({ description }) };
}

function shownIfSet(key: string, value: string | undefined): string | number | undefined {
  return value === undefined ? undefined : shownValue(key, value);
}

/** Undefined when it takes longer, or when nobody waits any more. */
async function endWithin<End>(done: Promise<End>, seconds: number, signal: AbortSignal): Promise<End | undefined> {
  const stop = new AbortController();
  const over = delay(seconds * 1000, undefined, { signal: AbortSignal.any([signal, stop.signal]) }).catch(() => {
    // Nothing but its signal rejects it.
    return undefined;
  });
  try {
    return await Promise.race([done, over]);
  } finally {
    stop.abort();
  }
}
