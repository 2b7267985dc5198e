// Holds a call against the access rule of its method. What it refuses, it refuses in the same words whether the thing is there or not.
import type { Identity } from '../auth/authenticator.ts';
import type { AuthId } from '../schema/auth-id.ts';
import { ApiError } from './dialect/failure.ts';
import type { AnyMethod, PrivilegeRule } from './method.ts';
import type { PermissionCalls } from './services.ts';

/** Before the parameters are read: whoever has no right to what the path names hears nothing of them. @throws ApiError 401, 403. */
export function checkAccessOfPath(
  { access }: AnyMethod,
  inPath: ReadonlyMap<string, string>,
  identity: Identity | undefined,
  permissions: PermissionCalls,
): void {
  if ('world' in access) return;
  if (identity === undefined) throw notAuthenticated();
  if (!('onPath' in access)) return;
  const rule: PrivilegeRule = access.onPath(Object.fromEntries(inPath));
  if (letIn(rule, identity, permissions) === undefined) throw denied(identity.authId, rule);
}

/** By the rule of all parameters, where there is one. `onlyOwn`: the caller may, but with what it owns alone. @throws ApiError 401, 403. */
export function checkAccess(
  { access }: AnyMethod,
  parameters: Record<string, unknown>,
  identity: Identity | undefined,
  permissions: PermissionCalls,
): { onlyOwn: boolean } {
  if (typeof access !== 'function') return { onlyOwn: false };
  if (identity === undefined) throw notAuthenticated();
  const rule: PrivilegeRule = access(parameters);
  const asWhom = letIn(rule, identity, permissions);
  if (asWhom === undefined) throw denied(identity.authId, rule, true);
  return { onlyOwn: asWhom === 'owner' };
}

/** Undefined for whoever may not. */
function letIn(
  { path, orPath, anyOf, orOwner, orUser }: PrivilegeRule,
  { authId }: Identity,
  permissions: PermissionCalls,
): 'anybody' | 'owner' | undefined {
  if (orUser !== undefined && orUser === authId) return 'anybody';
  const places = orPath === undefined ? [path] : [path, orPath];
  if (places.some((place) => anyOf.some((privilege) => permissions.has(authId, place, privilege)))) return 'anybody';
  return orOwner !== undefined && permissions.has(authId, path, orOwner) ? 'owner' : undefined;
}

export function notAuthenticated(): ApiError {
  return new ApiError(401, 'not-authenticated', 'authentication failed');
}

/** `explains`: which privilege is missing where, as the dialect says it of what is checked after the parameters. */
export function denied(authId: AuthId, { path, anyOf, orOwner }: PrivilegeRule, explains = false): ApiError {
  const privileges = orOwner === undefined ? anyOf : [...anyOf, orOwner];
  const missing = explains ? ` - missing ${privileges.join('|')} on ${path}` : '';
  return new ApiError(403, 'permission-denied', `permission check failed${missing}`, { authId, path, privileges });
}
