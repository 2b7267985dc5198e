// POST /access/ticket: sign in, renew a ticket, answer a second factor. DELETE: sign out.

import { Type } from 'typebox';
import type { LoginResult } from '../../../auth/sign-in.ts';
import { HoldfastError } from '../../../util/errors.ts';
import { EXPIRED_COOKIE } from '../../dialect/answer.ts';
import { ApiError } from '../../dialect/failure.ts';
import { defineMethod } from '../../method.ts';
import { Nothing, UserIdText } from '../parameters.ts';

export const TICKET_METHODS = [
  defineMethod({
    method: 'POST',
    path: '/access/ticket',
    description: 'Signs in with a password, with the answer to a second factor, or with a ticket that is still good.',
    access: { world: true },
    parameters: Type.Object({
      username: UserIdText,
      password: Type.Optional(
        Type.String({ maxLength: 4096, description: 'Password, ticket, or totp:CODE and the like.' }),
      ),
      'tfa-challenge': Type.Optional(Type.String({ maxLength: 4096, description: 'The ticket of the first step.' })),
    }),
    returns: Type.Object({ username: Type.String(), ticket: Type.String(), CSRFPreventionToken: Type.String() }),
    handler: async (call, { username, password, 'tfa-challenge': tfaChallenge }) => {
      if (password === undefined) throw new ApiError(400, 'bad-argument', 'no password provided');
      const { authenticator } = call.services;
      let signedIn: LoginResult;
      try {
        signedIn = await authenticator.login({ username, password, tfaChallenge, address: call.address });
      } catch (error) {
        // Whatever was wrong with them: who guesses learns nothing of which part was right.
        if (error instanceof HoldfastError && error.code === 'not-authenticated')
          throw new ApiError(401, 'not-authenticated', 'permission check failed.');
        throw error;
      }
      call.attach('status', 200);
      call.attach('success', true);
      const { ticket, csrfToken } = signedIn;
      return { username: signedIn.username, ticket, CSRFPreventionToken: csrfToken };
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: '/access/ticket',
    description: 'Signs out: the browser forgets its cookie.',
    access: { world: true },
    parameters: Type.Object({}),
    returns: Nothing,
    handler: (call) => {
      call.header('set-cookie', EXPIRED_COOKIE);
      return null;
    },
  }),
];
