// Administration through a server's API, with the rights of the user or token of the address.
import { type Static, type TSchema, Type } from 'typebox';
import type { StoredAclEntry } from '../../auth/access-store.ts';
import type { AuditAction } from '../../auth/audit-log.ts';
import type { RoleName } from '../../auth/privileges.ts';
import type { UserView } from '../../auth/user-accounts.ts';
import { type AuthId, ROOT_USER, tokenIdOf, type UserId } from '../../schema/auth-id.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { CommonOptions } from '../repository.ts';
import type { Administration, AuditView } from './administration.ts';
import { openLine } from './server-line.ts';

/** A call that changes something is made once: whoever asked sees whether it came through. */
const LIST_PATIENCE_MS = 20_000;

const UserAnswer = Type.Array(
  Type.Object({
    userid: Type.String(),
    comment: Type.Optional(Type.String()),
    firstname: Type.Optional(Type.String()),
    lastname: Type.Optional(Type.String()),
    email: Type.Optional(Type.String()),
    enable: Type.Optional(Type.Boolean()),
    expire: Type.Optional(Type.Integer()),
    'totp-locked': Type.Optional(Type.Boolean()),
    'tfa-locked-until': Type.Optional(Type.Integer()),
  }),
);
const TokenAnswer = Type.Array(
  Type.Object({
    'token-name': Type.String(),
    enable: Type.Optional(Type.Boolean()),
    expire: Type.Optional(Type.Integer()),
    comment: Type.Optional(Type.String()),
  }),
);
const AclAnswer = Type.Array(
  Type.Object({ path: Type.String(), propagate: Type.Boolean(), roleid: Type.String(), ugid: Type.String() }),
);
const Factor = Type.Object({
  id: Type.String(),
  type: Type.Union([Type.Literal('totp'), Type.Literal('recovery')]),
  description: Type.String(),
  created: Type.Integer(),
  enable: Type.Boolean(),
});
const TfaAnswer = Type.Array(
  Type.Object({
    userid: Type.String(),
    entries: Type.Array(Factor),
    'totp-locked': Type.Optional(Type.Boolean()),
    'tfa-locked-until': Type.Optional(Type.Integer()),
  }),
);

/** Privileges by path. */
const PermissionAnswer = Type.Record(Type.String(), Type.Record(Type.String(), Type.Boolean()));

const AuditAnswer = Type.Array(
  Type.Object({
    id: Type.Integer(),
    time: Type.Integer(),
    action: Type.String(),
    by: Type.String(),
    address: Type.String(),
    object: Type.String(),
    detail: Type.Record(
      Type.String(),
      Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Array(Type.String())]),
    ),
  }),
);

export interface RemoteAdministration extends Administration {
  close(): Promise<void>;
}

/** Opens no connection yet. @throws `bad-argument` for a wrong address, or without a secret. */
export async function remoteAdministration(
  options: CommonOptions,
  repository: string,
  signal: AbortSignal,
): Promise<RemoteAdministration> {
  const { line, address, access } = await openLine(options, repository);
  // Whoever signed in with a password confirms with it what asks for a confirmation.
  const confirmation = address.token === undefined ? access.secret : undefined;
  const get = async <Schema extends TSchema>(path: string, schema: Schema): Promise<Static<Schema>> =>
    await line.call('GET', path, undefined, schema, { signal, patienceMs: LIST_PATIENCE_MS });
  const change = async <Schema extends TSchema>(
    method: 'POST' | 'PUT' | 'DELETE',
    path: string,
    body: Record<string, unknown> | undefined,
    schema: Schema,
  ): Promise<Static<Schema>> => await line.call(method, path, body, schema, { signal, patienceMs: 0 });
  const none = Type.Null();
  const password = confirmation === undefined ? {} : { password: confirmation };
  return {
    host: address.host,
    listUsers: async () => (await get('/access/users', UserAnswer)).map(userOfRow),
    createUser: async (user) => void (await change('POST', '/access/users', { ...user }, none)),
    updateUser: async (user, changes) => void (await change('PUT', pathOf(user), { ...changes }, none)),
    deleteUser: async (user) => void (await change('DELETE', pathOf(user), undefined, none)),
    setPassword: async (userid, password) => {
      const body = { userid, password, ...(confirmation !== undefined && { 'confirmation-password': confirmation }) };
      await change('PUT', '/access/password', body, none);
    },
    unlockTfa: async (user) => await change('PUT', `${pathOf(user)}/unlock-tfa`, {}, Type.Boolean()),
    listTokens: async (user) =>
      (await get(`${pathOf(user)}/token`, TokenAnswer)).map((row) => ({
        tokenid: tokenIdOf(user, row['token-name']),
        tokenName: row['token-name'],
        enable: row.enable ?? true,
        expire: row.expire ?? 0,
        comment: row.comment ?? '',
      })),
    createToken: async (user, name, fields) => {
      const answer = Type.Object({ value: Type.String() });
      const { value } = await change('POST', tokenPath(user, name), { ...fields }, answer);
      return { tokenid: tokenIdOf(user, name), value };
    },
    regenerateToken: async (user, name) => {
      const answer = Type.Object({ secret: Type.String() });
      const { secret } = await change('PUT', tokenPath(user, name), { regenerate: true }, answer);
      return { tokenid: tokenIdOf(user, name), value: secret };
    },
    deleteToken: async (user, name) => void (await change('DELETE', tokenPath(user, name), undefined, none)),
    listAcl: async (path) =>
      (await get(`/access/acl${path === undefined ? '' : `?path=${encodeURIComponent(path)}`}`, AclAnswer)).map(
        aclOfRow,
      ),
    changeAcl: async ({ authId, ...entry }) =>
      void (await change('PUT', '/access/acl', { ...entry, 'auth-id': authId }, none)),
    listTfa: async (user) =>
      (await get('/access/tfa', TfaAnswer))
        .filter(({ userid }) => user === undefined || userid === user)
        .map((row) => ({
          userid: row.userid as UserId,
          entries: row.entries,
          totpLocked: row['totp-locked'] ?? false,
          tfaLockedUntil: row['tfa-locked-until'] ?? 0,
        })),
    checkTfaUser: async (user) => {
      if (address.token !== undefined) throw noToken();
      // Who may look at a user may not add to it: the server says so only when the key has been shown.
      if (user !== address.user) requireBecoming(user, await get('/access/permissions?path=%2F', PermissionAnswer));
      await get(tfaPath(user), Type.Array(Factor));
    },
    addTotp: async (user, { uri, code, description }) => {
      const body = { type: 'totp', totp: uri, value: code, description, ...password };
      return (await change('POST', tfaPath(user), body, Type.Object({ id: Type.String() }))).id;
    },
    addRecovery: async (user) => {
      const answer = Type.Object({ recovery: Type.Array(Type.String(), { minItems: 1 }) });
      return (await change('POST', tfaPath(user), { type: 'recovery', ...password }, answer)).recovery;
    },
    deleteTfa: async (user, id) => {
      const query = confirmation === undefined ? undefined : password;
      await change('DELETE', `${tfaPath(user)}/${encodeURIComponent(id)}`, query, none);
    },
    listAudit: async (query) => {
      const words = Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]);
      return (await get(`/access/audit?${new URLSearchParams(words)}`, AuditAnswer)).map(auditOfRow);
    },
    close: async () => await line.close(),
  };
}

function pathOf(user: UserId): string {
  return `/access/users/${encodeURIComponent(user)}`;
}

function tfaPath(user: UserId): string {
  return `/access/tfa/${encodeURIComponent(user)}`;
}

/** The rule of the server for what lets whoever does it sign in as another user. @throws `permission-denied`. */
function requireBecoming(user: UserId, rights: Static<typeof PermissionAnswer>): void {
  if (user !== ROOT_USER && rights['/']?.['Permissions.Modify'] !== undefined) return;
  throw new HoldfastError(
    'permission-denied',
    user === ROOT_USER
      ? `second factors of ${user} are added by ${user} alone`
      : `second factors of ${user} are added by that user, or by whoever has Permissions.Modify on /`,
    { data: { path: '/', privileges: ['Permissions.Modify'] } },
  );
}

function noToken(): HoldfastError {
  return new HoldfastError(
    'permission-denied',
    'second factors are added by people, not with a token: sign in with the password, --repository https://USER@REALM@HOST:PORT/STORE',
  );
}

function tokenPath(user: UserId, name: string): string {
  return `${pathOf(user)}/token/${encodeURIComponent(name)}`;
}

function userOfRow(row: Static<typeof UserAnswer>[number]): UserView {
  const { userid, comment = '', firstname = '', lastname = '', email = '', enable = true, expire = 0 } = row;
  const locks = { totpLocked: row['totp-locked'] ?? false, tfaLockedUntil: row['tfa-locked-until'] ?? 0 };
  return { userid: userid as UserId, comment, firstname, lastname, email, enable, expire, ...locks };
}

function aclOfRow({ path, propagate, roleid, ugid }: Static<typeof AclAnswer>[number]): StoredAclEntry {
  return { path, propagate, role: roleid as RoleName, authId: ugid as AuthId };
}

function auditOfRow({ action, detail, ...row }: Static<typeof AuditAnswer>[number]): AuditView {
  const named = Object.entries(detail).map(([name, value]) => [name.replace(/-([a-z])/g, camel), value]);
  return { ...row, action: action as AuditAction, detail: Object.fromEntries(named) };
}

function camel(_: string, letter: string): string {
  return letter.toUpperCase();
}
