// Says who a request is from, by its ticket or its API token. Every refusal is the same answer, whatever the reason.
import { type AuthId, tokenNameOf, userOf } from '../schema/auth-id.ts';
import { HoldfastError } from '../util/errors.ts';
import type { TokenStore, UserStore } from './access-store.ts';
import { isTokenSecret } from './api-token.ts';
import { type Credentials, type ShownToken, ticketOf, tokenOf } from './credentials.ts';
import { isActive } from './permissions.ts';
import type { QuietFailures } from './quiet-failures.ts';
import type { LoginRequest, LoginResult, SignIn } from './sign-in.ts';
import type { Tickets } from './tickets.ts';

export interface Identity {
  readonly authId: AuthId;
  readonly by: 'ticket' | 'token';
}

export interface AuthenticatorParts {
  readonly users: Pick<UserStore, 'find'>;
  readonly tokens: Pick<TokenStore, 'find'>;
  readonly tickets: Tickets;
  readonly signIn: SignIn;
  readonly failures: QuietFailures;
}

export class Authenticator {
  readonly #parts: AuthenticatorParts;

  constructor(parts: AuthenticatorParts) {
    this.#parts = parts;
  }

  /** `nowMs` is Unix milliseconds. A ticket needs the CSRF token for every method but GET. Throws `not-authenticated`. */
  async authenticate(credentials: Credentials, nowMs: number): Promise<Identity> {
    const ticket = ticketOf(credentials);
    if (ticket !== undefined) return this.#byTicket(ticket, credentials, Math.floor(nowMs / 1000), nowMs);
    const token = tokenOf(credentials);
    if (token !== undefined) return this.#byToken(token, credentials.address, nowMs);
    throw notAuthenticated();
  }

  /** A ticket for a password, for an old ticket, or for the answer to a challenge. Throws `not-authenticated`, `login-throttled`. */
  login(request: LoginRequest): Promise<LoginResult> {
    return this.#parts.signIn.login(request);
  }

  #byTicket(ticket: string, credentials: Credentials, now: number, nowMs: number): Identity {
    const { tickets, users } = this.#parts;
    const user = tickets.read(ticket, now, (claimed) => users.find(claimed)?.ticketEpoch);
    if (user === undefined || !isActive(users.find(user), nowMs)) throw notAuthenticated();
    if (credentials.method !== 'GET' && !tickets.checkCsrfToken(credentials.csrfToken ?? '', user, now))
      throw notAuthenticated();
    return { authId: user, by: 'ticket' };
  }

  #byToken({ authId, secret }: ShownToken, address: string, nowMs: number): Identity {
    const user = this.#parts.users.find(userOf(authId));
    const token = this.#parts.tokens.find(userOf(authId), tokenNameOf(authId) ?? '');
    const isGood =
      token !== undefined &&
      isTokenSecret(token.secretHash, secret) &&
      isActive(token, nowMs) &&
      user !== undefined &&
      isActive(user, nowMs);
    if (isGood) return { authId, by: 'token' };
    this.#parts.failures.note({ action: 'token-refused', by: authId, address, object: authId });
    throw notAuthenticated();
  }
}

function notAuthenticated(): HoldfastError {
  return new HoldfastError('not-authenticated', 'authentication failed');
}
