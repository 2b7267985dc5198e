// What an administrator sets for a datastore, as texts of the API: the maintenance mode and the quotas.
import { Layout } from '../../datastore/layout.ts';
import { readLimits } from '../../datastore/limits/limits-file.ts';
import { type Limits, MAX_MAINTENANCE_MESSAGE, type MaintenanceMode } from '../../schema/limits-file.ts';
import { parseNamespace } from '../../schema/names.ts';
import { ParameterError } from '../dialect/failure.ts';
import type { DatastoreEntry } from '../services.ts';

export async function readStoreLimits({ path }: DatastoreEntry): Promise<Limits> {
  return await readLimits(new Layout(path));
}

/** `offline,message=moving`; undefined when there is no maintenance. */
export function maintenanceText({ maintenance: { mode, message } }: Limits): string | undefined {
  if (mode === 'none') return undefined;
  return message === '' ? mode : `${mode},message=${quoted(message)}`;
}

/** `offline`, `type=read-only,message="text, with a comma"`. @throws ParameterError. */
export function parseMaintenance(text: string): { mode: MaintenanceMode; message: string } {
  const [, mode, rest] = /^(?:type=)?(read-only|offline)(?:,message=(.*))?$/s.exec(text) ?? [];
  if (mode === undefined)
    throw wrong('maintenance-mode', 'write offline or read-only, and if you like ,message=TEXT behind it');
  const message = unquoted(rest ?? '');
  if (message.length > MAX_MAINTENANCE_MESSAGE)
    throw wrong('maintenance-mode', `the message may only be ${MAX_MAINTENANCE_MESSAGE} characters long`);
  return { mode: mode as MaintenanceMode, message };
}

/** `ns=a/b,bytes=1000` and `owner=x@y,bytes=1000`; `ns=` is the root namespace. */
export function quotaTexts({ quotas: { namespaces, owners } }: Limits): string[] {
  return [
    ...Object.entries(namespaces).map(([ns, bytes]) => `ns=${ns},bytes=${bytes}`),
    ...Object.entries(owners).map(([owner, bytes]) => `owner=${owner},bytes=${bytes}`),
  ];
}

/** @throws ParameterError. */
export function parseQuotas(texts: readonly string[]): Limits['quotas'] {
  const namespaces: Record<string, number> = {};
  const owners: Record<string, number> = {};
  for (const text of texts) {
    const [, kind, name = '', count] = /^(ns|owner)=([^,\s]*),bytes=(\d{1,16})$/.exec(text) ?? [];
    const bytes = Number(count);
    const isGood = kind === 'ns' || (kind === 'owner' && name.length > 0 && name.length <= 128);
    if (!isGood || !Number.isSafeInteger(bytes))
      throw wrong('quota', 'write ns=NAMESPACE,bytes=N or owner=AUTHID,bytes=N');
    if (kind === 'ns') namespaces[parseNamespace(name)] = bytes;
    else owners[name] = bytes;
  }
  return { namespaces, owners };
}

function wrong(name: string, reason: string): ParameterError {
  return new ParameterError([[name, reason]]);
}

function quoted(text: string): string {
  return /^[^",\\]+$/.test(text) ? text : `"${text.replace(/["\\]/g, '\\$&')}"`;
}

function unquoted(text: string): string {
  const [, inside] = /^"(.*)"$/s.exec(text) ?? [];
  return inside === undefined ? text : inside.replace(/\\(.)/gs, '$1');
}
