// Holds a call against the access rule of its method. What it refuses, it refuses in the same words whether the thing is there or not.
import type { Identity } from '../auth/authenticator.ts';
import type { AuthId } from '../schema/auth-id.ts';
import { ApiError } from './dialect/failure.ts';
import type { AnyMethod, PrivilegeRule } from './method.ts';
import type { PermissionCalls } from './services.ts';

/** `onlyOwn`: the caller may, but with what it owns alone. @throws ApiError 401, 403. */
export function checkAccess(
  { access }: AnyMethod,
  parameters: Record<string, unknown>,
  identity: Identity | undefined,
  permissions: PermissionCalls,
): { onlyOwn: boolean } {
  if (typeof access !== 'function') {
    if ('auth' in access && identity === undefined) throw notAuthenticated();
    return { onlyOwn: false };
  }
  if (identity === undefined) throw notAuthenticated();
  const rule: PrivilegeRule = access(parameters);
  const { authId } = identity;
  if (rule.orUser !== undefined && rule.orUser === authId) return { onlyOwn: false };
  if (rule.anyOf.some((privilege) => permissions.has(authId, rule.path, privilege))) return { onlyOwn: false };
  if (rule.orOwner !== undefined && permissions.has(authId, rule.path, rule.orOwner)) return { onlyOwn: true };
  throw denied(authId, rule);
}

export function notAuthenticated(): ApiError {
  return new ApiError(401, 'not-authenticated', 'authentication failed');
}

export function denied(authId: AuthId, { path, anyOf, orOwner, explains }: PrivilegeRule): ApiError {
  const privileges = orOwner === undefined ? anyOf : [...anyOf, orOwner];
  const missing = explains ? ` - missing ${privileges.join('|')} on ${path}` : '';
  return new ApiError(403, 'permission-denied', `permission check failed${missing}`, { authId, path, privileges });
}
