// /nodes/{node}/qemu/{vmid}/config and /pending: settings read, and changed at once (PUT) or as a task (POST).
import { setTimeout as delay } from 'node:timers/promises';
import { type Static, type TObject, Type } from 'typebox';
import type { Privilege } from '../../../../auth/privileges.ts';
import { ParameterError } from '../../../dialect/failure.ts';
import { CONFIG_KEYS, CONFIG_PARAMETERS, settingsOf, shownValue } from '../../config-keys.ts';
import { requireConfigRights } from '../../config-rights.ts';
import { guestUpidOf } from '../../guest-upid.ts';
import { defineGuestMethod, type GuestCall, onGuest, requireGuest } from '../../method.ts';
import type { ConfigChange } from '../../services.ts';
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
      const [now, next] = [await guests.config(vmid, { current: true }), await guests.config(vmid, {})];
      const [values, later] = [shown(now), shown(next)];
      const keys = [...new Set([...Object.keys(values), ...Object.keys(later)])].sort();
      return keys.map((key) => ({
        key,
        ...given({ value: values[key] }),
        ...(later[key] === undefined ? { delete: 1 } : {}),
        ...(later[key] !== undefined && later[key] !== values[key] ? { pending: later[key] } : {}),
      }));
    },
  }),
];

/** @throws ApiError 400, 403, 500. */
async function checkedChange(call: GuestCall, parameters: Change): Promise<ConfigChange> {
  const { node, vmid, delete: removed, digest, force, skiplock, ...rest } = parameters;
  requireRootFor(call, skiplock);
  await requireGuest(call, node, vmid);
  const settings = settingsOf(rest);
  const remove = listOf(removed);
  const wrong = remove.filter((key) => !CONFIG_KEYS.has(key));
  if (wrong.length > 0) throw new ParameterError([['delete', `unknown option '${wrong[0]?.slice(0, 64)}'`]]);
  const both = remove.filter((key) => key in settings);
  if (both.length > 0) throw new ParameterError(both.map((key) => ['delete', `'${key}' is set and deleted at once`]));
  const cleared = Object.keys(settings).filter((key) => settings[key] === '');
  const set = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== ''));
  const gone = [...remove, ...cleared];
  const { values: before } = await call.services.guests.config(vmid, {});
  requireConfigRights(call, vmid, { set, remove: gone, before });
  return { set, remove: gone, force, skipLock: skiplock, ...given({ digest: digest === '' ? undefined : digest }) };
}

/** Settings as clients read them, the description among them. */
export function shown(config: {
  readonly values: Readonly<Record<string, string>>;
  readonly description?: string;
}): Record<string, string | number> {
  const { values, description } = config;
  const entries = Object.entries(values).map(([key, value]) => [key, shownValue(key, value)] as const);
  return { ...Object.fromEntries(entries), ...given({ description }) };
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
