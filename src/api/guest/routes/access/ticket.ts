// POST /access/ticket: sign in, renew a ticket, answer a second factor. GET is there for clients that try it.
import { Type } from 'typebox';
import type { LoginResult } from '../../../../auth/sign-in.ts';
import { parseUserId, type UserId } from '../../../../schema/auth-id.ts';
import { HoldfastError } from '../../../../util/errors.ts';
import { ApiError } from '../../../dialect/failure.ts';
import { capabilitiesOf } from '../../capabilities.ts';
import { defineGuestMethod, type GuestCall } from '../../method.ts';
import { Flag, Nothing } from '../parameters.ts';

const USUAL_REALM = 'pam';
const Secret = Type.Optional(Type.String({ maxLength: 4096 }));

export const TICKET_METHODS = [
  defineGuestMethod({
    method: 'GET',
    path: '/access/ticket',
    description: 'Nothing: tickets come from POST.',
    access: { world: true },
    parameters: Type.Object({}),
    returns: Nothing,
    handler: () => null,
  }),
  defineGuestMethod({
    method: 'POST',
    path: '/access/ticket',
    description: 'Signs in with a password, with the answer to a second factor, or with a ticket that is still good.',
    access: { world: true },
    parameters: Type.Object({
      username: Type.String({ minLength: 1, maxLength: 64, description: 'NAME@REALM, or NAME with `realm`.' }),
      password: Type.String({ maxLength: 4096, description: 'Password, ticket, or totp:CODE and the like.' }),
      realm: Type.Optional(Type.String({ pattern: '^[A-Za-z][A-Za-z0-9._-]+$', maxLength: 32 })),
      'tfa-challenge': Secret,
      otp: Type.Optional(Type.String({ maxLength: 64, description: 'A time-based code, at once with the password.' })),
      'new-format': Type.Optional(Type.Boolean({ description: 'Taken and ignored: it always is.' })),
    }),
    returns: Type.Object({
      username: Type.String(),
      ticket: Type.String(),
      CSRFPreventionToken: Type.String(),
      NeedTFA: Type.Optional(Flag),
      cap: Type.Optional(Type.Record(Type.String(), Type.Record(Type.String(), Type.Integer()))),
    }),
    handler: async (call, { username, realm, password, 'tfa-challenge': challenge, otp }) => {
      const name = username.includes('@') ? username : `${username}@${realm ?? USUAL_REALM}`;
      let signedIn = await signIn(call, name, password, challenge);
      if (signedIn.needsSecondFactor && otp !== undefined)
        signedIn = await signIn(call, name, `totp:${otp}`, signedIn.ticket);
      const { ticket, csrfToken, needsSecondFactor } = signedIn;
      return {
        username: signedIn.username,
        ticket,
        CSRFPreventionToken: csrfToken,
        ...(needsSecondFactor ? { NeedTFA: 1 } : { cap: capabilities(call, signedIn.username) }),
      };
    },
  }),
];

async function signIn(
  call: GuestCall,
  username: string,
  password: string,
  tfaChallenge: string | undefined,
): Promise<LoginResult> {
  try {
    const { authenticator } = call.services;
    return await authenticator.login({ username, password, tfaChallenge, ticketPrefix: 'PVE', address: call.address });
  } catch (error) {
    // Whatever was wrong with them: who guesses learns nothing of which part was right.
    if (error instanceof HoldfastError && error.code === 'not-authenticated')
      throw new ApiError(401, 'not-authenticated', 'authentication failure');
    throw error;
  }
}

function capabilities(call: GuestCall, user: UserId) {
  const authId = parseUserId(user);
  return capabilitiesOf(call.services.access.permissionsOf({ authId, address: call.address }, authId));
}
