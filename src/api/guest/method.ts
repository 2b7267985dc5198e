// Methods of the guest dialect, and the checks that most of them begin with.
import type { TObject, TSchema } from 'typebox';
import type { Privilege } from '../../auth/privileges.ts';
import { denied } from '../check-access.ts';
import { ApiError } from '../dialect/failure.ts';
import { type BaseCall, callerOf, type InPath, type Method, type PrivilegeRule } from '../method.ts';
import type { GuestServices } from './services.ts';

export interface GuestCall extends BaseCall {
  readonly services: GuestServices;
}

/** What a guest or a storage that hangs may hold up a list: clients give up after 5 s. */
export const LIST_ANSWER_MS = 2_000;

export function defineGuestMethod<Parameters extends TObject, Returns extends TSchema>(
  method: Method<Parameters, Returns, GuestCall>,
): Method<Parameters, Returns, GuestCall> {
  return method;
}

/** Access for whoever has one of the privileges on the guest of the path. */
export function onGuest(...anyOf: Privilege[]) {
  return { onPath: ({ vmid }: InPath): PrivilegeRule => ({ path: `/vms/${vmid}`, anyOf }) };
}

export function onStorage(...anyOf: Privilege[]) {
  return { onPath: ({ storage }: InPath): PrivilegeRule => ({ path: `/storage/${storage}`, anyOf }) };
}

export function onRoot(...anyOf: Privilege[]) {
  return { onPath: (): PrivilegeRule => ({ path: '/', anyOf }) };
}

/** Whether the caller has one of the privileges there. */
export function may(call: GuestCall, path: string, ...anyOf: Privilege[]): boolean {
  const caller = callerOf(call);
  return anyOf.some((privilege) => call.services.permissions.has(caller, path, privilege));
}

/** @throws ApiError 403. */
export function requirePrivilege(call: GuestCall, path: string, ...anyOf: Privilege[]): void {
  if (!may(call, path, ...anyOf)) throw denied(callerOf(call), { path, anyOf });
}

/** @throws ApiError 500 for another node. */
export function requireNode({ services }: Pick<GuestCall, 'services'>, node: string): void {
  if (node !== 'localhost' && node !== services.node.name)
    throw new ApiError(500, 'not-found', `hostname lookup '${node}' failed: this node is '${services.node.name}'`);
}

/** The right to this node, by whichever of its names it was called. @throws ApiError 403, 500 for another node. */
export function requireOnNode(call: GuestCall, node: string, ...anyOf: Privilege[]): void {
  requireNode(call, node);
  requirePrivilege(call, `/nodes/${call.services.node.name}`, ...anyOf);
}

/** @throws ApiError 500 in the words that clients take for a guest that is gone. */
export async function requireGuest(call: GuestCall, node: string, vmid: number): Promise<void> {
  requireNode(call, node);
  if (await call.services.guests.exists(vmid)) return;
  const file = `nodes/${call.services.node.name}/qemu-server/${vmid}.conf`;
  throw new ApiError(500, 'not-found', `Configuration file '${file}' does not exist`);
}
