// PUT /access/password.
import { Type } from 'typebox';
import { parseUserId } from '../../../schema/auth-id.ts';
import { defineMethod } from '../../method.ts';
import { actorOf } from '../actor.ts';
import { Nothing, Password, UserIdText } from '../parameters.ts';

export const PASSWORD_METHODS = [
  defineMethod({
    method: 'PUT',
    path: '/access/password',
    description: "Changes one's own password, or with Permissions.Modify on / somebody else's. Not through a token.",
    access: ({ userid }) => ({ path: '/', anyOf: ['Permissions.Modify'], orUser: userid }),
    parameters: Type.Object({
      userid: UserIdText,
      password: Password,
      'confirmation-password': Type.Optional(
        Type.String({ maxLength: 1024, description: 'The password of whoever asks; only root@pam may leave it away.' }),
      ),
    }),
    returns: Nothing,
    handler: async (call, { userid, password, 'confirmation-password': confirmation }) => {
      await call.services.access.setPassword(actorOf(call), parseUserId(userid), password, confirmation);
      return null;
    },
  }),
];
