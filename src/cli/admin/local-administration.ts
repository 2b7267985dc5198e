// Administration on the server's machine, as root@pam.
import { hostname } from 'node:os';
import type { TokenView } from '../../auth/token-accounts.ts';
import { tokenIdOf } from '../../schema/auth-id.ts';
import type { Administration } from './administration.ts';
import type { OpenState } from './server-state.ts';

export function localAdministration({ access, actor }: Pick<OpenState, 'access' | 'actor'>): Administration {
  return {
    host: hostname(),
    listUsers: async () => access.listUsers(actor).users,
    createUser: (user) => access.createUser(actor, user),
    updateUser: (user, changes) => access.updateUser(actor, user, changes),
    deleteUser: async (user) => access.deleteUser(actor, user),
    setPassword: (user, password) => access.setPassword(actor, user, password),
    unlockTfa: async (user) => access.unlockTfa(actor, user),
    listTokens: async (user): Promise<readonly TokenView[]> => access.listTokens(actor, user).tokens,
    createToken: async (user, name, fields) => access.createToken(actor, user, name, fields),
    regenerateToken: async (user, name) => {
      const value = access.updateToken(actor, user, name, { regenerate: true });
      return { tokenid: tokenIdOf(user, name), value: value as string };
    },
    deleteToken: async (user, name) => access.deleteToken(actor, user, name),
    listAcl: async (path) => access.listAcl(actor, path === undefined ? {} : { path }).entries,
    changeAcl: async (change) => access.changeAcl(actor, change),
    listTfa: async (user) => (user === undefined ? access.listTfa(actor) : [access.tfaOf(actor, user)]),
    checkTfaUser: async (user) => void access.tfaOf(actor, user),
    addTotp: async (user, totp) => await access.addTotp(actor, user, totp),
    addRecovery: async (user) => await access.addRecovery(actor, user),
    deleteTfa: (user, id) => access.deleteTfa(actor, user, id),
    listAudit: async (query) =>
      (await access.auditLog(actor, query)).map(({ timeMs, ...entry }) => ({
        ...entry,
        time: Math.floor(timeMs / 1000),
      })),
  };
}
