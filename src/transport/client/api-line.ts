// JSON calls of the API, with an API token or with a ticket that a login gave. Calls that change nothing, or nothing twice, are made again when
// the line breaks.
import { type Static, type TSchema, Type } from 'typebox';
import type { Client } from 'undici';
import { HoldfastError } from '../../util/errors.ts';
import { isBrokenLine, lineError } from './answer-error.ts';
import { checkedAnswer, foreignAnswer } from './foreign-answer.ts';
import { jsonCall } from './json-call.ts';
import { Patience } from './patience.ts';
import type { Access } from './remotes.ts';
import { originOf, type RepositoryAddress } from './repository-address.ts';
import type { TrustedLines } from './trusted-line.ts';

const CALL_TIMEOUT_MS = 60_000;
/** A ticket is good for 2 h; it is renewed before. */
const TICKET_LIFETIME_MS = 60 * 60_000;

const Ticket = Type.Object({
  username: Type.String(),
  ticket: Type.Optional(Type.String()),
  CSRFPreventionToken: Type.Optional(Type.String()),
});

type SignedIn = Required<Pick<Static<typeof Ticket>, 'ticket' | 'CSRFPreventionToken'>>;

/** What a ticket begins with that is only a question for the second factor. */
const CHALLENGE = 'PBS:!tfa!';

export interface CallOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs?: number;
  /** For how long a call is made again when the line breaks; 0: never. */
  readonly patienceMs: number;
}

/** The code of a second factor, or a recovery code; undefined when nobody can be asked. */
export type AskSecondFactor = (user: string) => Promise<string | undefined>;

export class ApiLine {
  readonly #address: RepositoryAddress;
  readonly #access: Access;
  readonly #client: Client;
  readonly #askSecondFactor: AskSecondFactor;
  #ticket: { headers: Record<string, string>; sinceMs: number } | undefined;

  /** Programs leave `askSecondFactor` away: nobody is there who could answer. */
  constructor(
    address: RepositoryAddress,
    access: Access,
    lines: TrustedLines,
    askSecondFactor: AskSecondFactor = async () => undefined,
  ) {
    this.#address = address;
    this.#askSecondFactor = askSecondFactor;
    this.#access = access;
    this.#client = lines.open(originOf(address));
  }

  /** Makes a call and checks the member `data` of its answer. `path` stands below /api2/json. @throws what the server says. */
  async call<Schema extends TSchema>(
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    body: Record<string, unknown> | undefined,
    schema: Schema,
    options: CallOptions,
  ): Promise<Static<Schema>> {
    return await new Patience(options.patienceMs, options.signal).attempt(async () =>
      this.#call(method, path, body, schema, await this.#login(options), options),
    );
  }

  /** For what comes by more than one call. @throws `protocol-failed` when `value` has not the shape of an answer to `what`. */
  check<Schema extends TSchema>(what: string, value: unknown, schema: Schema): Static<Schema> {
    // Such answers are some of the longest.
    return checkedAnswer(this.#server, what, value, schema, Number.POSITIVE_INFINITY);
  }

  async close(): Promise<void> {
    await this.#client.destroy();
  }

  get #server(): string {
    return originOf(this.#address);
  }

  async #login(options: CallOptions): Promise<Record<string, string>> {
    const { user, token } = this.#address;
    const { secret } = this.#access;
    if (token !== undefined) return { authorization: `PBSAPIToken=${user}!${token}:${secret}` };
    if (this.#ticket === undefined || Date.now() - this.#ticket.sinceMs > TICKET_LIFETIME_MS) {
      const sinceMs = Date.now();
      const { ticket, CSRFPreventionToken } = await this.#signIn({ username: user, password: secret }, options);
      this.#ticket = {
        headers: { cookie: `PBSAuthCookie=${encodeURIComponent(ticket)}`, csrfpreventiontoken: CSRFPreventionToken },
        sinceMs,
      };
    }
    return this.#ticket.headers;
  }

  async #signIn(
    body: { readonly username: string; readonly password: string },
    options: CallOptions,
  ): Promise<SignedIn> {
    const first = await this.#ticketFor(body, options);
    if (first.ticket !== undefined && !first.ticket.startsWith(CHALLENGE)) return signedIn(this.#server, first);
    const answer = first.ticket === undefined ? undefined : await this.#askSecondFactor(body.username);
    if (answer === undefined || answer === '')
      throw new HoldfastError(
        'bad-argument',
        `${body.username} needs a second factor, which a program cannot give: make an API token for it and use ${body.username}!TOKEN`,
      );
    const password = `${/^\d{6,8}$/.test(answer) ? 'totp' : 'recovery'}:${answer}`;
    return signedIn(
      this.#server,
      await this.#ticketFor({ username: body.username, password, 'tfa-challenge': first.ticket }, options),
    );
  }

  async #ticketFor(body: Record<string, unknown>, options: CallOptions): Promise<Static<typeof Ticket>> {
    return await this.#call('POST', '/access/ticket', body, Ticket, {}, options);
  }

  async #call<Schema extends TSchema>(
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    body: Record<string, unknown> | undefined,
    schema: Schema,
    login: Record<string, string>,
    { signal, timeoutMs = CALL_TIMEOUT_MS }: CallOptions,
  ): Promise<Static<Schema>> {
    const timeout = AbortSignal.timeout(timeoutMs);
    try {
      const call = { server: this.#server, method, path, body, login };
      return await jsonCall(this.#client, call, schema, AbortSignal.any([signal, timeout]));
    } catch (error) {
      signal.throwIfAborted();
      if (!timeout.aborted) throw isBrokenLine(error) ? error : lineError(error, this.#server);
      const what = `${method} ${path.split('?')[0]}`;
      throw Object.assign(new Error(`no answer to ${what} in ${timeoutMs / 1000} s`), { code: 'ETIMEDOUT' });
    }
  }
}

function signedIn(server: string, { ticket, CSRFPreventionToken }: Static<typeof Ticket>): SignedIn {
  if (ticket !== undefined && CSRFPreventionToken !== undefined && !ticket.startsWith(CHALLENGE))
    return { ticket, CSRFPreventionToken };
  throw foreignAnswer(server, 'POST /access/ticket', 'a sign-in without a ticket');
}
