// PUT /access/password.
import { Type } from 'typebox';
import { parseUserId } from '../../../schema/auth-id.ts';
import { denied } from '../../check-access.ts';
import { callerOf, defineMethod } from '../../method.ts';
import { actorOf } from '../actor.ts';
import { Nothing, Password, UserIdText } from '../parameters.ts';

export const PASSWORD_METHODS = [
  defineMethod({
    method: 'PUT',
    path: '/access/password',
    description:
      "Changes one's own password, or with Permissions.Modify on /access somebody else's. Not through a token.",
    access: { auth: true },
    parameters: Type.Object({
      userid: UserIdText,
      password: Password,
      'confirmation-password': Type.Optional(
        Type.String({ maxLength: 1024, description: 'The password of whoever asks; only root@pam may leave it away.' }),
      ),
    }),
    returns: Nothing,
    handler: async (call, { userid: text, password, 'confirmation-password': confirmation }) => {
      const userid = parseUserId(text);
      const caller = callerOf(call);
      const isAllowed = userid === caller || call.services.permissions.has(caller, '/access', 'Permissions.Modify');
      if (call.identity?.by === 'token' || !isAllowed)
        throw denied(caller, { path: '/access', anyOf: ['Permissions.Modify'] });
      await call.services.access.setPassword(userid, password, confirmation, actorOf(call));
      return null;
    },
  }),
];
