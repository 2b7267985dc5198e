// Where a repository on a server is: `https://USER@REALM!TOKEN@HOST[:PORT]/STORE`. Secrets are never a part of it: it stands in the list of
// processes, in logs and in the history of the shell.
import { requireSafe } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';

export const DEFAULT_PORT = 8007;

export interface RepositoryAddress {
  /** `name@realm`. */
  readonly user: string;
  /** Name of the user's API token; undefined for a login with the password. */
  readonly token: string | undefined;
  /** A name or an IP address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  readonly store: string;
}

const SCHEME = 'https://';
const USER_NAME = /^[^\s:/@!\p{Cc}]+$/u;
const HOST = /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/;
const IPV6 = /^[0-9A-Fa-f:.]+$/;

/** Whether the text means a server rather than a directory. */
export function isServerAddress(text: string): boolean {
  return text.startsWith(SCHEME);
}

/** @throws `bad-argument` that says which part is wrong. */
export function parseRepositoryAddress(text: string): RepositoryAddress {
  if (!isServerAddress(text)) throw wrong('it begins with https://');
  const rest = text.slice(SCHEME.length);
  const slash = rest.indexOf('/');
  if (slash < 0) throw wrong('the name of the datastore follows the host, after a slash');
  const store = rest.slice(slash + 1);
  const place = rest.slice(0, slash);
  const at = place.lastIndexOf('@');
  if (at < 0) throw wrong('a user stands before the host');
  try {
    requireSafe(store, 'datastore name');
  } catch (cause) {
    throw wrong('the name of a datastore has letters, digits, ".", "_" and "-"', cause);
  }
  return { ...parseLogin(place.slice(0, at)), ...parseHost(place.slice(at + 1)), store };
}

export function formatRepositoryAddress({ user, token, host, port, store }: RepositoryAddress): string {
  const login = token === undefined ? user : `${user}!${token}`;
  const place = port === DEFAULT_PORT ? shownHost(host) : `${shownHost(host)}:${port}`;
  return `${SCHEME}${login}@${place}/${store}`;
}

/** The server alone, as in a URL: IPv6 in brackets, the port always. */
export function originOf({ host, port }: Pick<RepositoryAddress, 'host' | 'port'>): string {
  return `${SCHEME}${shownHost(host)}:${port}`;
}

function shownHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

function parseLogin(login: string): Pick<RepositoryAddress, 'user' | 'token'> {
  // A secret that somebody put behind the user must not be repeated in a message.
  if (login.includes(':'))
    throw wrong('no secret belongs into the address: put it into HOLDFAST_PASSWORD or HOLDFAST_TOKEN_SECRET');
  const mark = login.indexOf('!');
  const user = mark < 0 ? login : login.slice(0, mark);
  const token = mark < 0 ? undefined : login.slice(mark + 1);
  const [name = '', realm = '', ...more] = user.split('@');
  if (more.length > 0 || !USER_NAME.test(name) || user.length > 64) throw wrong('the user is USER@REALM');
  try {
    requireSafe(realm, 'realm');
    if (token !== undefined) requireSafe(token, 'token name');
  } catch (cause) {
    throw wrong('the user is USER@REALM or USER@REALM!TOKEN', cause);
  }
  return { user, token };
}

function parseHost(place: string): Pick<RepositoryAddress, 'host' | 'port'> {
  const parts = /^(?:\[(?<v6>[^\]]*)\]|(?<name>[^:[\]]*))(?::(?<port>\d{1,5}))?$/.exec(place)?.groups;
  const host = parts?.v6 ?? parts?.name ?? '';
  const isHost =
    parts?.v6 === undefined ? HOST.test(host) && host.length <= 253 : IPV6.test(host) && host.includes(':');
  if (!isHost) throw wrong('the host is a name or an address, IPv6 in brackets');
  const port = parts?.port === undefined ? DEFAULT_PORT : Number(parts.port);
  if (port < 1 || port > 65_535) throw wrong('the port is 1 to 65535');
  return { host, port };
}

function wrong(why: string, cause?: unknown): HoldfastError {
  return new HoldfastError(
    'bad-argument',
    `this is not the address of a repository: ${why}; write https://USER@REALM!TOKEN@HOST:PORT/STORE`,
    { cause },
  );
}
