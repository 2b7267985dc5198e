// Who may look at a user's account, and who may change it: the user, and whoever manages users.
import type { PrivilegeRule } from '../../method.ts';

export const USERS = '/access/users';

interface OfUser {
  readonly userid: string;
}

export function mayLook({ userid }: OfUser): PrivilegeRule {
  return { path: USERS, anyOf: ['Sys.Audit', 'Permissions.Modify'], orUser: userid };
}

export function mayChange({ userid }: OfUser): PrivilegeRule {
  return { path: USERS, anyOf: ['Permissions.Modify'], orUser: userid };
}

export function mayManage(): PrivilegeRule {
  return { path: USERS, anyOf: ['Permissions.Modify'] };
}
