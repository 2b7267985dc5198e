// Who may look at a user's account, and who may change it: the user, and whoever manages users.
import type { InPath, PrivilegeRule } from '../../method.ts';

export const USERS = '/access/users';

export const mayLook = {
  onPath: ({ userid = '' }: InPath): PrivilegeRule => ({
    path: USERS,
    anyOf: ['Sys.Audit', 'Permissions.Modify'],
    orUser: userid,
  }),
};

export const mayChange = {
  onPath: ({ userid = '' }: InPath): PrivilegeRule => ({ path: USERS, anyOf: ['Permissions.Modify'], orUser: userid }),
};

export const mayManage = {
  onPath: (): PrivilegeRule => ({ path: USERS, anyOf: ['Permissions.Modify'] }),
};
