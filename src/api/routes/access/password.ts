// PUT /access/password, the same in both dialects.
import { Type } from 'typebox';
import { parseUserId } from '../../../schema/auth-id.ts';
import type { BaseCall, Method } from '../../method.ts';
import { actorOf } from '../actor.ts';
import { Nothing, Password, UserIdText } from '../parameters.ts';

const Parameters = Type.Object({
  userid: UserIdText,
  password: Password,
  'confirmation-password': Type.Optional(
    Type.String({ maxLength: 1024, description: 'The password of whoever asks; only root@pam may leave it away.' }),
  ),
});

export const PASSWORD_METHODS: readonly Method<typeof Parameters, typeof Nothing, BaseCall>[] = [
  {
    method: 'PUT',
    path: '/access/password',
    description: "Changes one's own password, or with Permissions.Modify on / somebody else's. Not through a token.",
    access: ({ userid }) => ({ path: '/', anyOf: ['Permissions.Modify'], orUser: userid }),
    parameters: Parameters,
    returns: Nothing,
    handler: async (call, { userid, password, 'confirmation-password': confirmation }) => {
      await call.services.access.setPassword(actorOf(call), parseUserId(userid), password, confirmation);
      return null;
    },
  },
];
